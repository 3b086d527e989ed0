package guard

import (
	"net/http"
	"strings"
	"time"

	sallyport "sallyport.dev"
	"sallyport.dev/policy"
	"sallyport.dev/spec"
	"sallyport.dev/spec/jsondoc"
)

// rpcHead looks at the head of a request to a JSON-RPC entry. GET and DELETE
// are how MCP clients open a stream of events and end a session.
func (s *Session) rpcHead() {
	switch s.r.Method {
	case http.MethodGet, http.MethodDelete:
		if s.r.ContentLength != 0 {
			s.breaks(refusedInvalid, "jsonrpc.request", sallyport.Place{In: sallyport.InBody}, "", "calls are sent by POST")
		}
	case http.MethodPost:
		if s.r.ContentLength == 0 {
			s.breaks(refusedInvalid, "jsonrpc.request", sallyport.Place{In: sallyport.InBody}, "", "the request has no body")
		}
	default:
		if !s.preflight() && s.on(identify) {
			s.fault(identify, methodRefusal([]string{"DELETE", "GET", "POST"}), "operation.method", sallyport.Place{In: sallyport.InMethod}, "", "JSON-RPC is sent by POST")
		}
	}
}

// rpcBody takes the calls out of a body (JSON-RPC 2.0).
func (s *Session) rpcBody(b []byte, now time.Time) {
	if !jsonType(s.contentType) {
		s.breaks(refusedMediaType, "body.media-type", sallyport.Place{In: sallyport.InBody}, "", "JSON-RPC is sent as application/json")
		if s.refusal == nil && s.on(inspecting) {
			s.inspectUnread(b)
		}
		return
	}
	(*spec.Operation)(nil).CheckBody(&s.check, s.contentType, b)
	s.validated()
	if !s.check.HasDoc {
		if s.refusal == nil && s.on(inspecting) {
			s.inspectText(b)
		}
		return
	}
	s.rpcDoc()
	if s.strictest(inspecting); s.refusal == nil && s.on(inspecting) {
		s.inspectDoc()
	}
	if s.refusal == nil {
		s.admit(now)
	}
	s.lead()
}

func (s *Session) rpcDoc() {
	d, r := &s.check.Doc, s.entry.rpc
	if d.Nodes[0].Kind != jsondoc.Array {
		s.rpcCall(0)
		return
	}
	n := int(d.Nodes[0].Count)
	if n == 0 || n > r.batch {
		s.breaks(refusedInvalid, "jsonrpc.batch", sallyport.Place{In: sallyport.InBody}, "", "the batch is empty or holds more calls than are let through")
	}
	for i := 1; i < int(d.Nodes[0].Next) && s.refusal == nil; i = int(d.Nodes[i].Next) {
		s.rpcCall(i)
	}
}

// rpcCall checks one call, notification or response, and names its operation.
func (s *Session) rpcCall(root int) {
	d := &s.check.Doc
	bad := func(i int, detail string) {
		s.breaks(refusedInvalid, "jsonrpc.request", sallyport.Place{In: sallyport.InBody, Name: d.Pointer(i)}, "", detail)
	}
	if d.Nodes[root].Kind != jsondoc.Object {
		bad(root, "a call is an object")
		return
	}
	version, method, params, id, answer := -1, -1, -1, -1, -1
	for i := root + 1; i < int(d.Nodes[root].Next); i = int(d.Nodes[i].Next) {
		switch string(d.Key(i, nil)) {
		case "jsonrpc":
			version = i
		case "method":
			method = i
		case "params":
			params = i
		case "id":
			id = i
		case "result", "error":
			answer = i
		default:
			s.undocumented(i)
		}
	}
	switch {
	case version < 0 || d.Nodes[version].Kind != jsondoc.String || string(d.Text(version, nil)) != "2.0":
		bad(root, "jsonrpc is not \"2.0\"")
	case method < 0 && answer < 0 || method >= 0 && answer >= 0:
		bad(root, "it is neither a call nor an answer")
	case method >= 0 && d.Nodes[method].Kind != jsondoc.String:
		bad(method, "method is no string")
	case params >= 0 && d.Nodes[params].Kind != jsondoc.Object && d.Nodes[params].Kind != jsondoc.Array:
		bad(params, "params are neither an object nor an array")
	case id >= 0 && d.Nodes[id].Kind != jsondoc.String && d.Nodes[id].Kind != jsondoc.Number && d.Nodes[id].Kind != jsondoc.Null:
		bad(id, "id is neither a string nor a number nor null")
	}
	if method < 0 || d.Nodes[method].Kind != jsondoc.String || s.refusal != nil {
		return
	}
	s.rpcMethod(method, params)
}

// rpcMethod finds the operation of a call: the method, or for calls of MCP the
// tool or prompt that is named in params.
func (s *Session) rpcMethod(method, params int) {
	d := &s.check.Doc
	name := string(d.Text(method, nil))
	if strings.HasPrefix(name, "rpc.") {
		s.breaks(refusedInvalid, "jsonrpc.method", sallyport.Place{In: sallyport.InBody, Name: d.Pointer(method)}, "", "names that begin with rpc. are reserved")
		return
	}
	if params >= 0 && (name == "tools/call" || name == "prompts/get") {
		for i := params + 1; i < int(d.Nodes[params].Next); i = int(d.Nodes[i].Next) {
			if d.Nodes[i].KeyStart >= 0 && string(d.Key(i, nil)) == "name" && d.Nodes[i].Kind == jsondoc.String {
				if op := s.entry.ops[policy.VerbRPC+" "+name+"/"+string(d.Text(i, nil))]; op != nil {
					d.Nodes[i].Proven, d.Nodes[method].Proven = true, true
					s.name(op)
					return
				}
			}
		}
	}
	if op := s.entry.ops[policy.VerbRPC+" "+name]; op != nil {
		d.Nodes[method].Proven = true
		s.name(op)
		return
	}
	if !s.entry.rpc.named || !s.on(identify) {
		return
	}
	mode := s.op.modes[identify]
	if s.api.shadow != policy.Refuse {
		mode = sallyport.Observe
	}
	s.add(identify, mode, refusedUnknown, "operation.undeclared", sallyport.Place{In: sallyport.InBody, Name: d.Pointer(method)}, "", "the method is not listed")
}
