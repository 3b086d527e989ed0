// Package rule decides by predicates in CEL (the Common Expression Language)
// whether a request is authorised. In come the text of a rule, which is checked
// for types once, and for each request a View of what has been verified and
// read; out goes whether the rule holds, or why it could not be told. Whatever
// is not plainly true is no. It does no I/O, reads no clock, and each
// evaluation has a bound of work.
package rule

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// Bounds of a rule: of its text, and of the work of one evaluation in CEL's own
// units of cost (about one a step, and one for each ten bytes compared).
const (
	MaxText = 4 << 10
	MaxCost = 20_000
)

// Reads says what a rule looks at.
type Reads struct {
	Body   bool
	Path   []string // names of path parameters, where they are written out
	Claims bool
}

// A Rule is one predicate, compiled. It is immutable and safe for concurrent use.
type Rule struct {
	Name    string
	reads   Reads
	program cel.Program
}

// Reads says what the rule looks at; shared, not to be changed.
func (r *Rule) Reads() Reads { return r.reads }

// variables are all that a rule may speak of. A name with a dot is one variable,
// so that a misspelt one is found when the rule is compiled.
var variables = map[string]*cel.Type{
	"claims": cel.MapType(cel.StringType, cel.DynType),
	"path":   cel.MapType(cel.StringType, cel.StringType),
	"query":  cel.MapType(cel.StringType, cel.StringType),
	"header": cel.MapType(cel.StringType, cel.StringType),
	"body":   cel.DynType,
	"now":    cel.TimestampType,

	"request.method": cel.StringType,
	"request.path":   cel.StringType,
	"request.host":   cel.StringType,
	"request.tls":    cel.BoolType,

	"operation.api":      cel.StringType,
	"operation.method":   cel.StringType,
	"operation.template": cel.StringType,
	"operation.id":       cel.StringType,
	"operation.declared": cel.BoolType,

	"principal.authenticated": cel.BoolType,
	"principal.kind":          cel.StringType,
	"principal.issuer":        cel.StringType,
	"principal.subject":       cel.StringType,
	"principal.client":        cel.StringType,
	"principal.actor":         cel.StringType,
	"principal.scopes":        cel.ListType(cel.StringType),

	"client.address": cel.StringType,
}

// environment is made once: it is the same for all rules.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(MaxText), cel.ParserRecursionLimit(60), cel.ExpressionNestingDepthLimit(60),
		cel.DefaultUTCTimeZone(true), cel.CrossTypeNumericComparisons(true),
		cel.Function("within", cel.MemberOverload("string_within_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(within))),
	}
	for name, kind := range variables {
		options = append(options, cel.Variable(name, kind))
	}
	return cel.NewEnv(options...)
})

// within reports whether an address lies in a network: client.address.within("10.0.0.0/8").
func within(address, network ref.Val) ref.Val {
	a, ok := address.(types.String)
	n, ok2 := network.(types.String)
	if !ok || !ok2 {
		return types.MaybeNoSuchOverloadErr(address)
	}
	ip, err := netip.ParseAddr(string(a))
	if err != nil {
		return types.NewErr("within: not an address")
	}
	prefix, err := netip.ParsePrefix(string(n))
	if err != nil {
		return types.NewErr("within: not a network such as 10.0.0.0/8")
	}
	return types.Bool(prefix.Contains(ip.Unmap()))
}

// Compile reads and type-checks a rule. The error says what is wrong and, where
// the text has several lines, in which.
func Compile(name, text string) (*Rule, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	if len(text) > MaxText {
		return nil, fmt.Errorf("longer than %d bytes", MaxText)
	}
	checked, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		var all []string
		for _, e := range issues.Errors() {
			at := fmt.Sprintf("column %d", e.Location.Column()+1)
			if strings.Contains(text, "\n") {
				at = fmt.Sprintf("line %d of the rule, %s", e.Location.Line(), at)
			}
			all = append(all, fmt.Sprintf("%s: %s", at, strings.TrimSpace(e.Message)))
			if len(all) == 3 {
				break
			}
		}
		return nil, errors.New(strings.Join(all, "; "))
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		if t.IsExactType(cel.DynType) {
			return nil, errors.New("the rule may give something that is not true or false; compare it, as in `claims.admin == true`")
		}
		return nil, fmt.Errorf("the rule gives %s; want true or false", t)
	}
	r := &Rule{Name: name}
	if err := r.survey(checked); err != nil {
		return nil, err
	}
	r.program, err = env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(MaxCost), cel.OptimizeRegex(interpreter.MatchesRegexOptimization))
	if err != nil {
		return nil, err
	}
	return r, nil
}

// survey notes what the rule looks at, and checks constants that would fail at
// each evaluation.
func (r *Rule) survey(checked *cel.Ast) (err error) {
	seen := map[string]bool{}
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			switch e.AsIdent() {
			case "body":
				r.reads.Body = true
			case "claims":
				r.reads.Claims = true
			}
		case ast.SelectKind:
			if s := e.AsSelect(); s.Operand().Kind() == ast.IdentKind && s.Operand().AsIdent() == "path" && !s.IsTestOnly() && !seen[s.FieldName()] {
				seen[s.FieldName()] = true
				r.reads.Path = append(r.reads.Path, s.FieldName())
			}
		case ast.CallKind:
			c := e.AsCall()
			if c.FunctionName() != "within" || len(c.Args()) != 1 || c.Args()[0].Kind() != ast.LiteralKind {
				return
			}
			if text, ok := c.Args()[0].AsLiteral().(types.String); ok {
				if _, perr := netip.ParsePrefix(string(text)); perr != nil {
					err = fmt.Errorf("within(%q): want a network such as 10.0.0.0/8", string(text))
				}
			}
		}
	}))
	slices.Sort(r.reads.Path)
	return err
}

// Errors of an evaluation, for people; they hold nothing of the request.
var (
	ErrFalse = errors.New("it does not hold")
	ErrCost  = errors.New("it would take more work than a rule may")
	ErrValue = errors.New("something that it asks for is missing, given twice, or of another type")
)

// Holds evaluates the rule. It returns nil when the rule is true, ErrFalse when
// it is false, and another of the errors above when it can't be told; none of
// them means yes. v must not be changed meanwhile.
func (r *Rule) Holds(v *View) (err error) {
	v.spoiled = false
	out, _, err := r.program.Eval(v)
	switch {
	case err != nil && strings.Contains(err.Error(), "cost limit"):
		return ErrCost
	case err != nil || v.spoiled:
		return ErrValue
	case out == types.True:
		return nil
	case out == types.False:
		return ErrFalse
	}
	return ErrValue
}

// A View is one request as rules see it. Values of maps are made when a rule
// first asks for them.
type View struct {
	Method, Target, Host                        string
	TLS                                         bool
	API, OperationMethod, Template, OperationID string
	Declared                                    bool
	Kind, Issuer, Subject, Actor, Client        string // of the principal; "" = nobody proven
	Scopes                                      []string
	Claims                                      func() map[string]any // verified ones; nil = none
	Address                                     netip.Addr
	Path                                        func(yield func(name, raw string) bool)
	Query                                       string
	Header                                      map[string][]string // canonical names
	Body                                        func() (any, bool)
	Now                                         time.Time

	spoiled bool // something ambiguous was asked for
	path    texts
	query   texts
	header  texts
	body    any
	hasBody bool
}

// Reset forgets the request.
func (v *View) Reset() { *v = View{} }

// Parent is none: see interpreter.Activation.
func (v *View) Parent() interpreter.Activation { return nil }

var _ interpreter.Activation = (*View)(nil)

// ResolveName gives the value of a variable: see interpreter.Activation.
func (v *View) ResolveName(name string) (any, bool) {
	switch name {
	case "claims":
		if v.Claims == nil {
			return noClaims, true
		}
		return v.Claims(), true
	case "path":
		v.path = texts{v, (*View).fromPath}
		return &v.path, true
	case "query":
		v.query = texts{v, (*View).fromQuery}
		return &v.query, true
	case "header":
		v.header = texts{v, (*View).fromHeader}
		return &v.header, true
	case "body":
		return v.bodyValue()
	case "now":
		return v.Now, true
	case "request.method":
		return v.Method, true
	case "request.path":
		return v.Target, true
	case "request.host":
		return v.Host, true
	case "request.tls":
		return v.TLS, true
	case "operation.api":
		return v.API, true
	case "operation.method":
		return v.OperationMethod, true
	case "operation.template":
		return v.Template, true
	case "operation.id":
		return v.OperationID, true
	case "operation.declared":
		return v.Declared, true
	case "principal.authenticated":
		return v.Kind != "", true
	case "principal.kind":
		return v.Kind, true
	case "principal.issuer":
		return v.Issuer, true
	case "principal.subject":
		return v.Subject, true
	case "principal.client":
		return v.Client, true
	case "principal.actor":
		return v.Actor, true
	case "principal.scopes":
		return v.Scopes, true
	case "client.address":
		return v.Address.Unmap().WithZone("").String(), true
	}
	return nil, false
}

var noClaims = map[string]any{}

func (v *View) bodyValue() (any, bool) {
	if !v.hasBody {
		var ok bool
		if v.Body != nil {
			v.body, ok = v.Body()
		}
		if !ok {
			v.spoiled = true
		}
		v.hasBody = true
	}
	if v.body == nil {
		return types.NullValue, true
	}
	return v.body, true
}
