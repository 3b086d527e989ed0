package inspect

import (
	"fmt"
	"hash/maphash"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/libinjection-go"
)

// Options are the settings of an Engine; the zero value is the default.
type Options struct {
	NoRuleSet bool // leave the OWASP Core Rule Set out of the second opinions
}

// An Engine holds the compiled rules. It is immutable and safe for concurrent
// use.
type Engine struct {
	auto *automaton
	crs  coraza.WAF
	memo memo
}

// New compiles the rules.
func New(o Options) (*Engine, error) {
	e := &Engine{auto: compile(literals)}
	e.memo.seed = maphash.MakeSeed()
	if o.NoRuleSet {
		return e, nil
	}
	w, err := coreRules()
	if err != nil {
		return nil, fmt.Errorf("compile the core rule set: %w", err)
	}
	e.crs = w
	return e, nil
}

// coreRules are compiled once a process: they take a quarter of a second and
// 20 MB, and never change.
var coreRules = sync.OnceValues(func() (coraza.WAF, error) {
	return coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(directives))
})

// Only the rules that judge values: no protocol, method or scanner rules, no
// logs, no bodies, no blocking.
const directives = `
SecRuleEngine DetectionOnly
SecRequestBodyAccess Off
SecResponseBodyAccess Off
SecAuditEngine Off
SecDebugLogLevel 0
SecCollectionTimeout 600
Include @crs-setup.conf.example
Include @owasp_crs/REQUEST-901-INITIALIZATION.conf
Include @owasp_crs/REQUEST-930-APPLICATION-ATTACK-LFI.conf
Include @owasp_crs/REQUEST-931-APPLICATION-ATTACK-RFI.conf
Include @owasp_crs/REQUEST-932-APPLICATION-ATTACK-RCE.conf
Include @owasp_crs/REQUEST-933-APPLICATION-ATTACK-PHP.conf
Include @owasp_crs/REQUEST-934-APPLICATION-ATTACK-GENERIC.conf
Include @owasp_crs/REQUEST-941-APPLICATION-ATTACK-XSS.conf
Include @owasp_crs/REQUEST-942-APPLICATION-ATTACK-SQLI.conf
Include @owasp_crs/REQUEST-944-APPLICATION-ATTACK-JAVA.conf
`

// The Core Rule Set takes a millisecond for a value. A request could be made of
// values that are ambiguous, so a Scratch lends only so many askings; it earns
// one back with every so many values that are read.
const (
	opinionBytes = 512 // longest value that second opinions read
	memoEntries  = 4096
	maxAsked     = 8
	earnAfter    = 64
)

// memo remembers opinions on values by hash; two generations bound it.
type memo struct {
	seed     maphash.Seed
	mu       sync.Mutex
	now, old map[uint64]bool
}

func (m *memo) get(h uint64) (v, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, ok = m.now[h]; !ok {
		v, ok = m.old[h]
	}
	return v, ok
}

func (m *memo) put(h uint64, v bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now == nil || len(m.now) >= memoEntries/2 {
		m.old, m.now = m.now, make(map[uint64]bool, memoEntries/2)
	}
	m.now[h] = v
}

// opinions settles what the recognisers left ambiguous: libinjection first,
// the Core Rule Set for the rest.
func (e *Engine) opinions(v []byte, j *judge, s *Scratch) Finding {
	best := j.sign[j.best]
	if best.score < ambiguous || len(v) > opinionBytes {
		return Finding{}
	}
	second := false
	switch j.best {
	case clSQL:
		second, _ = libinjection.IsSQLi(string(v))
	case clXSS:
		second = libinjection.IsXSS(string(v))
	}
	if !second {
		second = e.ruleSet(v, j.best, best.score, s)
	}
	if !second {
		return Finding{}
	}
	best.score += 2
	j.sign[j.best] = best
	return j.finding(j.best)
}

// ruleSet asks the Core Rule Set about one value and remembers the answer. It
// is asked only about short values that are ambiguous already; where too many
// of them come together, the stronger half counts as attacks without asking.
func (e *Engine) ruleSet(v []byte, c class, score int, s *Scratch) bool {
	if e.crs == nil {
		return false
	}
	h := maphash.Bytes(e.memo.seed, v) ^ uint64(c)
	if yes, known := e.memo.get(h); known {
		return yes
	}
	if s.asked >= maxAsked {
		s.spent = true
		return score >= Threshold-1
	}
	s.asked++
	tx := e.crs.NewTransaction()
	defer tx.Close()
	tx.ProcessConnection("192.0.2.1", 1, "192.0.2.2", 1)
	tx.ProcessURI("/", "GET", "HTTP/1.1")
	tx.AddGetRequestArgument("v", string(v))
	tx.ProcessRequestHeaders()
	_, err := tx.ProcessRequestBody()
	yes := false
	for _, m := range tx.MatchedRules() {
		if m.Rule().Severity() <= types.RuleSeverityCritical && related(m.Rule().ID(), c) {
			yes = true
		}
	}
	yes = yes && err == nil
	e.memo.put(h, yes)
	return yes
}

// related reports whether a rule of the Core Rule Set speaks of the class.
func related(id int, c class) bool {
	switch id / 1000 {
	case 942:
		return c == clSQL || c == clNoSQL
	case 941:
		return c == clXSS
	case 930:
		return c == clPath
	case 931:
		return c == clSSRF || c == clPath
	case 932:
		return c == clCmd || c == clShock
	case 933:
		return c == clCode || c == clObject || c == clCmd
	case 934:
		return c == clCode || c == clSSRF || c == clTemplate || c == clProto || c == clNoSQL
	case 944:
		return c == clLookup || c == clObject || c == clCode
	}
	return false
}
