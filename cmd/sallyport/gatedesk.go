package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance"
	"sallyport.dev/conformance/gate"
	"sallyport.dev/console/api"
)

// deskGate is the gate for the console, which is opened before it.
type deskGate struct{ e *engine }

var _ api.Gate = deskGate{}

var errGateClosed = sallyport.Errorf(sallyport.Unavailable, "the gate is not open yet")

// gate is the gate once it is open.
func (d deskGate) gate() (*gate.Gate, error) {
	if g := d.e.nudged.Load(); g != nil {
		return g, nil
	}
	return nil, errGateClosed
}

func (d deskGate) Fleet() []gate.View {
	if g, err := d.gate(); err == nil {
		return g.Fleet()
	}
	return nil
}

func (d deskGate) Schedule() []gate.Run {
	if g, err := d.gate(); err == nil {
		return g.Schedule()
	}
	return nil
}

func (d deskGate) Verdict(ctx context.Context, id string) (gate.Verdict, error) {
	g, err := d.gate()
	if err != nil {
		return gate.Verdict{}, err
	}
	return g.Verdict(ctx, id)
}

func (d deskGate) Verdicts(ctx context.Context, api, url string, before, limit int64) ([]gate.Verdict, error) {
	g, err := d.gate()
	if err != nil {
		return nil, err
	}
	return g.Verdicts(ctx, api, url, before, limit)
}

func (d deskGate) Latest(ctx context.Context, api string) ([]gate.Verdict, error) {
	g, err := d.gate()
	if err != nil {
		return nil, err
	}
	return g.Latest(ctx, api)
}

func (d deskGate) LastPassed(ctx context.Context, v gate.Verdict) (*gate.Verdict, error) {
	g, err := d.gate()
	if err != nil {
		return nil, err
	}
	return g.LastPassed(ctx, v)
}

func (d deskGate) Triggers(ctx context.Context, f gate.Filter) ([]gate.Trigger, error) {
	g, err := d.gate()
	if err != nil {
		return nil, err
	}
	return g.Triggers(ctx, f)
}

func (d deskGate) Retest(api, url, by string) error {
	g, err := d.gate()
	if err != nil {
		return err
	}
	return g.Retest(api, url, by)
}

func (d deskGate) HoldByHand(ctx context.Context, api, url, by string) error {
	g, err := d.gate()
	if err != nil {
		return err
	}
	return g.HoldByHand(ctx, api, url, by)
}

func (d deskGate) ReleaseByHand(ctx context.Context, api, url, by string) error {
	g, err := d.gate()
	if err != nil {
		return err
	}
	return g.ReleaseByHand(ctx, api, url, by)
}

// Demands are those of the configuration in force.
func (d deskGate) Demands() (out []api.GateDemand) {
	d.e.mu.Lock()
	c := d.e.current
	d.e.mu.Unlock()
	if c == nil {
		return nil
	}
	for _, a := range c.demands() {
		v := api.GateDemand{API: a.Name, Admit: string(a.Admit), Recheck: string(a.Recheck), Every: a.Every.Seconds(), OnNone: "refuse"}
		if a.LastGood {
			v.OnNone = string(lastGood)
		}
		for i := range c.APIs {
			if c.APIs[i].Name != a.Name {
				continue
			}
			b := c.APIs[i].Gate.Breaking
			if !b.Off {
				v.Window = cmp.Or(b.Window, breakingWindow).Seconds()
			}
			for _, x := range b.Exceptions {
				v.Exceptions = append(v.Exceptions, api.GateException{Operation: x.Operation, Change: x.Change, Approver: x.Approver, Expires: x.Expires, Reason: x.Reason})
			}
		}
		out = append(out, v)
	}
	return out
}

// gate says how long the gate's records are kept, for people.
func (r retention) gate() []api.Retention {
	days := int(cmp.Or(r.Verdicts, 9600*time.Hour).Hours() / 24)
	return []api.Retention{{What: "Verdicts of the gate and what triggered them", Kept: fmt.Sprintf("%d days", days)},
		{What: "Reports of verdicts", Kept: fmt.Sprintf("as long as their verdicts, together at most %d MiB", cmp.Or(int64(r.ReportBytes), 1<<30)>>20)}}
}

// difference is how a failed verdict differs from what passed last, as text; ""
// when nothing has passed, or that cannot be read now.
func (e *engine) difference(v gate.Verdict, now *conformance.Report) string {
	g := e.nudged.Load()
	if g == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	last, err := g.LastPassed(ctx, v)
	if err != nil || last == nil {
		return ""
	}
	var before conformance.Report
	if json.Unmarshal(last.Report, &before) != nil {
		return ""
	}
	text := fmt.Sprintf("last passed %s, verdict %s", time.UnixMicro(last.Ended).UTC().Format(time.RFC3339), last.ID)
	if last.URL != v.URL {
		text += ", of " + last.URL
	} else if last.Boot != v.Boot {
		text += ", another start of it"
	}
	if last.Contract != v.Contract {
		text += ", against another contract"
	}
	return text + "\n" + conformance.Diff(&before, now).String()
}
