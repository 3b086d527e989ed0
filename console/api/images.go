package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"sallyport.dev"
	"sallyport.dev/conformance/attest"
	"sallyport.dev/console/audit"
)

// ImageVerdicts keeps verdicts on images that pipelines report; an Engine may be one.
type ImageVerdicts interface {
	// ReportVerdict checks the token, which is the reporter's, and signs and keeps
	// the verdict that the report, which is packed, amounts to.
	ReportVerdict(ctx context.Context, token string, n attest.New) (attest.Verdict, error)
	ImageVerdicts(ctx context.Context, api, image string, limit int64) ([]attest.Verdict, error)
	ImageVerdict(ctx context.Context, id string) (attest.Verdict, []byte, error)
	VerdictKey() string // PEM
}

// reporter is a pipeline with a token of its own, which opens nothing else.
const reporter access = "reporter"

// ImageVerdict is a signed verdict on an image.
type ImageVerdict struct {
	ID       string    `json:"id" maxLength:"64"`
	API      string    `json:"api" maxLength:"64"`
	Image    string    `json:"image" maxLength:"71" doc:"Digest"`
	Spec     string    `json:"spec" maxLength:"71" doc:"Digest of the specification that it was tested against"`
	Policy   string    `json:"policy" maxLength:"64" doc:"Names the policy in force when it was signed"`
	Profile  string    `json:"profile" maxLength:"16"`
	Passed   bool      `json:"passed"`
	Summary  string    `json:"summary" maxLength:"1000"`
	Reporter string    `json:"reporter" maxLength:"200"`
	Tested   time.Time `json:"tested"`
	Expires  time.Time `json:"expires"`
}

func imageVerdict(v attest.Verdict) ImageVerdict {
	return ImageVerdict{v.ID, v.API, v.Image, v.Spec, v.Policy, v.Profile, v.Passed, v.Summary, v.Reporter, v.Tested, v.Expires}
}

func (a *API) imageOperations() {
	keeper := func() (ImageVerdicts, error) {
		if k, ok := a.Engine.(ImageVerdicts); ok {
			return k, nil
		}
		return nil, sallyport.Errorf(sallyport.NotFound, "this process keeps no verdicts on images")
	}
	type imageReport struct {
		API    string `json:"api" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
		Image  string `json:"image" maxLength:"71" pattern:"^sha256:[0-9a-f]{64}$" doc:"Digest of the image that ran"`
		Spec   string `json:"spec" maxLength:"71" pattern:"^sha256:[0-9a-f]{64}$" doc:"Digest of the specification that it was tested against"`
		Report []byte `json:"report" maxLength:"950000" doc:"Report of the tests as JSON of at most 4 MiB, in gzip, in base64"`
	}
	type signedVerdict struct {
		Verdict  ImageVerdict    `json:"verdict"`
		Envelope json.RawMessage `json:"envelope" doc:"DSSE envelope with an in-toto statement"`
	}
	add(a, spec{id: "reportVerdict", method: http.MethodPost, path: "/verdicts", summary: "Report the tests of an image; the verdict is signed and kept", tag: "gate", access: reporter, status: 201, errors: []int{422}, bytes: 1 << 20},
		func(ctx context.Context, in *struct {
			Authorization string `header:"Authorization" maxLength:"4096" doc:"Bearer, and the reporter's token"`
			Body          imageReport
		}) (*body[signedVerdict], error) {
			k, err := keeper()
			if err != nil {
				return nil, err
			}
			scheme, token, _ := strings.Cut(in.Authorization, " ")
			if !strings.EqualFold(scheme, "Bearer") {
				token = ""
			}
			v, err := k.ReportVerdict(ctx, strings.TrimSpace(token), attest.New{API: in.Body.API, Image: in.Body.Image, Spec: in.Body.Spec, Report: in.Body.Report})
			if err != nil {
				if k := sallyport.KindOf(err); k == sallyport.Unauthenticated || k == sallyport.Forbidden {
					a.recordAs(ctx, nil, "verdict.report", in.Body.API+" "+in.Body.Image, audit.Refused, "")
				}
				return nil, err
			}
			detail := "failed, reported by " + v.Reporter
			if v.Passed {
				detail = "passed, reported by " + v.Reporter
			}
			if err := a.recordAs(ctx, nil, "verdict.report", v.API+" "+v.Image, audit.Done, detail); err != nil {
				return nil, err
			}
			return &body[signedVerdict]{signedVerdict{imageVerdict(v), v.Envelope}}, nil
		})

	type imageVerdicts struct {
		Verdicts []ImageVerdict `json:"verdicts" maxItems:"500"`
		Key      string         `json:"key" maxLength:"1000" doc:"Public key (PEM, Ed25519) that the envelopes are verified with"`
	}
	add(a, spec{id: "listImageVerdicts", method: http.MethodGet, path: "/verdicts", summary: "Verdicts on images, newest first", tag: "gate", access: viewer},
		func(ctx context.Context, in *struct {
			API   string `query:"api" maxLength:"64"`
			Image string `query:"image" maxLength:"71" pattern:"^(sha256:[0-9a-f]{64})?$"`
			Limit int64  `query:"limit" minimum:"1" maximum:"500" default:"50"`
		}) (*body[imageVerdicts], error) {
			out := imageVerdicts{Verdicts: []ImageVerdict{}}
			k, err := keeper()
			if err != nil {
				return &body[imageVerdicts]{out}, nil
			}
			found, err := k.ImageVerdicts(ctx, in.API, in.Image, in.Limit)
			for _, v := range found {
				out.Verdicts = append(out.Verdicts, imageVerdict(v))
			}
			out.Key = k.VerdictKey()
			return &body[imageVerdicts]{out}, err
		})

	type imageVerdictDetail struct {
		Verdict  ImageVerdict    `json:"verdict"`
		Envelope json.RawMessage `json:"envelope" doc:"DSSE envelope with an in-toto statement"`
		Report   json.RawMessage `json:"report" doc:"The report of the tests"`
	}
	add(a, spec{id: "getImageVerdict", method: http.MethodGet, path: "/verdicts/{id}", summary: "One verdict on an image, as it was signed, with its report", tag: "gate", access: viewer},
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"64" pattern:"^i[0-9a-f]+$"`
		}) (*body[imageVerdictDetail], error) {
			k, err := keeper()
			if err != nil {
				return nil, err
			}
			v, raw, err := k.ImageVerdict(ctx, in.ID)
			if err != nil {
				return nil, err
			}
			return &body[imageVerdictDetail]{imageVerdictDetail{imageVerdict(v), v.Envelope, raw}}, nil
		})
}
