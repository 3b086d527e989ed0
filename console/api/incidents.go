package api

import (
	"context"
	"net/http"
	"time"

	"sallyport.dev"
	"sallyport.dev/console/audit"
	"sallyport.dev/incident"
)

// Incidents keep investigations; *incident.Book is one.
type Incidents interface {
	List(ctx context.Context, f incident.Filter) ([]incident.Incident, error)
	Incident(ctx context.Context, id string) (*incident.Detail, error)
	Acknowledge(ctx context.Context, id, who string) (*incident.Incident, error)
	Assign(ctx context.Context, id, who, to string) (*incident.Incident, error)
	Comment(ctx context.Context, id, who, text string) (*incident.Incident, error)
	Except(ctx context.Context, id, who, reason string, until time.Time) (*incident.Incident, error)
	Counts() incident.Counts
	OfSource(ctx context.Context, source string) (id string, err error) // "" = none
	TestTargets(ctx context.Context) []incident.Tried
}

// IncidentView is one row of the list of incidents.
type IncidentView struct {
	ID          string     `json:"id" maxLength:"64"`
	Kind        string     `json:"kind" maxLength:"200"`
	API         string     `json:"api" maxLength:"300"`
	Subject     string     `json:"subject" maxLength:"2100" doc:"URL of the instance, or the operation"`
	Title       string     `json:"title" maxLength:"400"`
	Severity    string     `json:"severity" enum:"low,medium,high,critical"`
	State       string     `json:"state" enum:"open,acknowledged,excepted,resolved"`
	Overdue     bool       `json:"overdue"`
	Assignee    string     `json:"assignee" maxLength:"400"`
	Team        string     `json:"team" maxLength:"200" doc:"Owner of the API"`
	Contact     string     `json:"contact" maxLength:"200"`
	Deputy      string     `json:"deputy" maxLength:"200"`
	Occurrences int64      `json:"occurrences" minimum:"0"`
	Opened      time.Time  `json:"opened"`
	Seen        time.Time  `json:"seen" doc:"Last failure"`
	Due         time.Time  `json:"due"`
	Closed      *time.Time `json:"closed,omitempty"`
	Escalated   *time.Time `json:"escalated,omitempty"`
	Approver    string     `json:"approver" maxLength:"200" doc:"Of the exception"`
	Reason      string     `json:"reason" maxLength:"2100"`
	Until       *time.Time `json:"until,omitempty" doc:"End of the exception"`
	Source      string     `json:"source" maxLength:"200" doc:"Newest verdict that it rests on"`
}

func (a *API) incidentView(i *incident.Incident) IncidentView {
	at := func(v int64) time.Time { return time.UnixMicro(v).UTC() }
	return IncidentView{i.ID, i.Kind, i.API, i.Subject, i.Title, i.Severity.String(), string(i.State), i.Overdue(a.Now()), i.Assignee, i.Team, i.Contact, i.Deputy, i.Occurrences,
		at(i.Opened), at(i.Seen), at(i.Due), micros(i.Closed), micros(i.Escalated), i.Approver, i.Reason, micros(i.Until), i.Source}
}

// IncidentEntry is one line of a timeline.
type IncidentEntry struct {
	Time time.Time `json:"time"`
	Who  string    `json:"who" maxLength:"200"`
	What string    `json:"what" maxLength:"64"`
	Text string    `json:"text" maxLength:"8200"`
}

// IncidentEvidence is one piece of what an incident rests on.
type IncidentEvidence struct {
	Time   time.Time `json:"time"`
	Source string    `json:"source" maxLength:"200" doc:"Verdict that holds it in full"`
	Kind   string    `json:"kind" maxLength:"100"`
	Title  string    `json:"title" maxLength:"400"`
	Body   string    `json:"body" maxLength:"66000"`
}

// IncidentDelivery is one notification.
type IncidentDelivery struct {
	Time     time.Time `json:"time"`
	Event    string    `json:"event" maxLength:"32"`
	Target   string    `json:"target" maxLength:"200"`
	State    string    `json:"state" enum:"due,sent,failed"`
	Attempts int       `json:"attempts" minimum:"0"`
	Problem  string    `json:"problem" maxLength:"400"`
}

// IncidentDetail is one incident with all that belongs to it.
type IncidentDetail struct {
	Incident     IncidentView       `json:"incident"`
	Reproduction string             `json:"reproduction" maxLength:"66000"`
	Difference   string             `json:"difference" maxLength:"66000" doc:"To the last passing test"`
	Timeline     []IncidentEntry    `json:"timeline" maxItems:"500"`
	Evidence     []IncidentEvidence `json:"evidence" maxItems:"500"`
	Deliveries   []IncidentDelivery `json:"deliveries" maxItems:"200"`
}

// IncidentCounts are how many incidents ask for somebody.
type IncidentCounts struct {
	Low      int64 `json:"low" minimum:"0"`
	Medium   int64 `json:"medium" minimum:"0"`
	High     int64 `json:"high" minimum:"0"`
	Critical int64 `json:"critical" minimum:"0"`
	Overdue  int64 `json:"overdue" minimum:"0"`
	Excepted int64 `json:"excepted" minimum:"0"`
}

// TriedTarget is how a test of one target went.
type TriedTarget struct {
	Target  string `json:"target" maxLength:"200"`
	Problem string `json:"problem" maxLength:"400" doc:"Empty: it was taken"`
}

func (a *API) incidentOperations() {
	book := func() (Incidents, error) {
		if a.Incidents == nil {
			return nil, sallyport.Errorf(sallyport.Unavailable, "this process keeps no incidents")
		}
		return a.Incidents, nil
	}
	type incidentList struct {
		Incidents []IncidentView `json:"incidents" maxItems:"200"`
		Next      string         `json:"next" maxLength:"64" doc:"before of the page that follows; empty when there is none"`
		Counts    IncidentCounts `json:"counts" doc:"Open or acknowledged, of all"`
	}
	add(a, spec{id: "listIncidents", method: http.MethodGet, path: "/incidents", summary: "Incidents by filter, newest first", tag: "incidents", access: viewer},
		func(ctx context.Context, in *struct {
			State    string `query:"state" enum:"open,acknowledged,excepted,resolved,current" doc:"current: all but the resolved ones"`
			Severity string `query:"severity" enum:"low,medium,high,critical"`
			API      string `query:"api" maxLength:"200"`
			Owner    string `query:"owner" maxLength:"300" doc:"Team, contact, deputy or assignee, in full"`
			Overdue  bool   `query:"overdue"`
			Before   string `query:"before" maxLength:"64" pattern:"^[a-z0-9]*$"`
			Limit    int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
		}) (*body[incidentList], error) {
			b, err := book()
			if err != nil {
				return nil, err
			}
			f := incident.Filter{State: incident.State(in.State), API: in.API, Owner: in.Owner, Overdue: in.Overdue, Before: in.Before, Limit: in.Limit}
			if in.State == "current" {
				f.State, f.Current = "", true
			}
			if in.Severity != "" {
				if f.Severity, err = incident.ParseSeverity(in.Severity); err != nil {
					return nil, err
				}
			}
			rows, err := b.List(ctx, f)
			if err != nil {
				return nil, err
			}
			c := b.Counts()
			out := incidentList{Incidents: []IncidentView{}, Counts: IncidentCounts{c.Open[incident.Low], c.Open[incident.Medium], c.Open[incident.High], c.Open[incident.Critical], c.Overdue, c.Excepted}}
			for k := range rows {
				out.Incidents = append(out.Incidents, a.incidentView(&rows[k]))
			}
			if len(rows) == in.Limit {
				out.Next = rows[len(rows)-1].ID
			}
			return &body[incidentList]{out}, nil
		})

	type ByID struct {
		ID string `path:"id" minLength:"1" maxLength:"64" pattern:"^[a-z0-9]+$"`
	}
	add(a, spec{id: "getIncident", method: http.MethodGet, path: "/incidents/{id}", summary: "One incident with timeline, evidence and notifications", tag: "incidents", access: viewer},
		func(ctx context.Context, in *ByID) (*body[IncidentDetail], error) {
			b, err := book()
			if err != nil {
				return nil, err
			}
			d, err := b.Incident(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			out := IncidentDetail{Incident: a.incidentView(&d.Incident), Reproduction: d.Reproduction, Difference: d.Difference, Timeline: []IncidentEntry{}, Evidence: []IncidentEvidence{}, Deliveries: []IncidentDelivery{}}
			for _, e := range d.Timeline {
				out.Timeline = append(out.Timeline, IncidentEntry{time.UnixMicro(e.At).UTC(), e.Who, e.What, e.Text})
			}
			for _, e := range d.Evidence {
				out.Evidence = append(out.Evidence, IncidentEvidence{time.UnixMicro(e.At).UTC(), e.Source, e.Kind, e.Title, e.Body})
			}
			for _, e := range d.Deliveries {
				out.Deliveries = append(out.Deliveries, IncidentDelivery{time.UnixMicro(e.At).UTC(), string(e.Event), e.Target, e.State, e.Attempts, e.Problem})
			}
			return &body[IncidentDetail]{out}, nil
		})

	// done answers for a change, once it stands in the audit log.
	done := func(ctx context.Context, i *incident.Incident, err error, action, detail string) (*body[IncidentView], error) {
		if err != nil {
			return nil, err
		}
		if r := []rune(detail); len(r) > 400 {
			detail = string(r[:400]) + "…"
		}
		if err := a.record(ctx, action, i.ID, audit.Done, detail); err != nil {
			return nil, err
		}
		return &body[IncidentView]{a.incidentView(i)}, nil
	}
	add(a, spec{id: "acknowledgeIncident", method: http.MethodPost, path: "/incidents/{id}/acknowledgement", summary: "Say that somebody deals with it", tag: "incidents", access: admin},
		func(ctx context.Context, in *ByID) (*body[IncidentView], error) {
			b, err := book()
			if err != nil {
				return nil, err
			}
			i, err := b.Acknowledge(ctx, in.ID, caller(ctx).Name)
			return done(ctx, i, err, "incident.acknowledge", "")
		})
	type incidentAssignment struct {
		To string `json:"to" maxLength:"200" doc:"A person of the console or any text; empty: nobody"`
	}
	add(a, spec{id: "assignIncident", method: http.MethodPut, path: "/incidents/{id}/assignee", summary: "Say who deals with it", tag: "incidents", access: admin},
		func(ctx context.Context, in *struct {
			ByID
			Body incidentAssignment
		}) (*body[IncidentView], error) {
			b, err := book()
			if err != nil {
				return nil, err
			}
			i, err := b.Assign(ctx, in.ID, caller(ctx).Name, in.Body.To)
			return done(ctx, i, err, "incident.assign", in.Body.To)
		})
	type incidentComment struct {
		Text string `json:"text" minLength:"1" maxLength:"8000"`
	}
	add(a, spec{id: "commentIncident", method: http.MethodPost, path: "/incidents/{id}/comments", summary: "Add to the timeline", tag: "incidents", access: admin, status: 201},
		func(ctx context.Context, in *struct {
			ByID
			Body incidentComment
		}) (*body[IncidentView], error) {
			b, err := book()
			if err != nil {
				return nil, err
			}
			i, err := b.Comment(ctx, in.ID, caller(ctx).Name, in.Body.Text)
			return done(ctx, i, err, "incident.comment", "")
		})
	type incidentException struct {
		Reason string    `json:"reason" minLength:"1" maxLength:"2000"`
		Until  time.Time `json:"until" doc:"Within a year; then it is open again"`
	}
	add(a, spec{id: "exceptIncident", method: http.MethodPut, path: "/incidents/{id}/exception", summary: "Let it rest until a time; who asks for it approves it", tag: "incidents", access: admin},
		func(ctx context.Context, in *struct {
			ByID
			Body incidentException
		}) (*body[IncidentView], error) {
			b, err := book()
			if err != nil {
				return nil, err
			}
			i, err := b.Except(ctx, in.ID, caller(ctx).Name, in.Body.Reason, in.Body.Until)
			return done(ctx, i, err, "incident.except", "until "+in.Body.Until.UTC().Format(time.RFC3339)+": "+in.Body.Reason)
		})
	type triedTargets struct {
		Targets []TriedTarget `json:"targets" maxItems:"100"`
	}
	add(a, spec{id: "testNotifications", method: http.MethodPost, path: "/notifications/test", summary: "Send a test message to each place that is notified", tag: "incidents", access: admin},
		func(ctx context.Context, _ *struct{}) (*body[triedTargets], error) {
			b, err := book()
			if err != nil {
				return nil, err
			}
			out := triedTargets{Targets: []TriedTarget{}}
			for _, t := range b.TestTargets(ctx) {
				v := TriedTarget{Target: t.Target}
				if t.Err != nil {
					v.Problem = t.Err.Error()
				}
				out.Targets = append(out.Targets, v)
			}
			return &body[triedTargets]{out}, a.record(ctx, "notifications.test", "", audit.Done, "")
		})
}
