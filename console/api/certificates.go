package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"
)

// NoticeView is something that somebody should look after.
type NoticeView struct {
	Rule   string `json:"rule" maxLength:"100"`
	API    string `json:"api" maxLength:"200" doc:"Empty when it is about the whole gateway"`
	Where  string `json:"where" maxLength:"1000" doc:"In the configuration, or the file"`
	Text   string `json:"text" maxLength:"2000"`
	Severe bool   `json:"severe" doc:"Clients are turned away because of it, or may be"`
}

// CertificateView is one certificate that connections hang from.
type CertificateView struct {
	Use         string    `json:"use" enum:"served,client_ca,upstream,upstream_ca,upstream_client"`
	Where       string    `json:"where" maxLength:"1000" doc:"Its file, the name it was obtained for, or the instance that showed it"`
	Subject     string    `json:"subject" maxLength:"1000"`
	Issuer      string    `json:"issuer" maxLength:"1000"`
	Names       []string  `json:"names" maxItems:"1000"`
	Serial      string    `json:"serial" maxLength:"100" doc:"In hexadecimal"`
	Fingerprint string    `json:"fingerprint" maxLength:"64" doc:"SHA-256 in hexadecimal"`
	From        time.Time `json:"from"`
	Until       time.Time `json:"until"`
	Renewed     bool      `json:"renewed" doc:"By itself"`
	Soon        bool      `json:"soon" doc:"It ends soon, or has ended"`
	OCSP        *OCSPView `json:"ocsp,omitempty"`
}

// OCSPView is the answer that is stapled to a certificate.
type OCSPView struct {
	Responder string     `json:"responder" maxLength:"1000"`
	Status    string     `json:"status" enum:"good,revoked,none"`
	Must      bool       `json:"must" doc:"The certificate says that it comes stapled"`
	Until     *time.Time `json:"until,omitempty"`
	Failing   string     `json:"failing" maxLength:"1000" doc:"Why the last question brought nothing; empty when it did"`
}

func (a *API) certificateOperations() {
	type list struct {
		Certificates []CertificateView `json:"certificates" maxItems:"10000" doc:"Those that end first come first"`
	}
	add(a, spec{id: "listCertificates", method: http.MethodGet, path: "/certificates", summary: "Certificates that connections hang from: ours, of client authorities, of upstreams as seen while connecting", tag: "overview", access: viewer},
		func(ctx context.Context, _ *struct{}) (*body[list], error) {
			out := list{Certificates: []CertificateView{}}
			for _, c := range a.Engine.Certificates() {
				v := CertificateView{Use: c.Use, Where: c.Where, Subject: c.Subject, Issuer: c.Issuer, Names: full(c.Names), Serial: c.Serial, Fingerprint: c.Fingerprint,
					From: c.From.UTC(), Until: c.Until.UTC(), Renewed: c.Renewed, Soon: c.Soon}
				if o := c.OCSP; o != nil {
					v.OCSP = &OCSPView{o.Responder, o.Status, o.Must, when(o.Until), o.Failing}
				}
				out.Certificates = append(out.Certificates, v)
			}
			slices.SortStableFunc(out.Certificates, func(x, y CertificateView) int {
				return cmp.Or(x.Until.Compare(y.Until), cmp.Compare(x.Use, y.Use), cmp.Compare(x.Where, y.Where))
			})
			return &body[list]{out}, nil
		})
}

func noticeViews(all []Notice) []NoticeView {
	out := []NoticeView{}
	for _, severe := range []bool{true, false} {
		for _, n := range all {
			if n.Severe == severe && len(out) < 100 {
				out = append(out, NoticeView{n.Rule, n.API, n.Where, n.Text, n.Severe})
			}
		}
	}
	return out
}
