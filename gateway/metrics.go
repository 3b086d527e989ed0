package gateway

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport.dev"
)

// counters are what a gateway counts; each is on its own, so that a snapshot
// may be a request apart in itself.
type counters struct {
	status  [6]atomic.Int64 // by hundreds; [0]: nothing was answered
	refused map[sallyport.Stage]*atomic.Int64
	buckets [len(bounds) + 1]atomic.Int64
	seconds atomic.Int64 // nanoseconds of all requests

	tries, retries              atomic.Int64
	rewritten                   atomic.Int64
	stripped                    atomic.Int64
	reports, badReports         atomic.Int64 // load reports of upstreams
	conversations               atomic.Int64
	eventsRefused               atomic.Int64
	messages, messagesRefused   atomic.Int64
	cache                       cacheCounters
	connOpened, connRefused     atomic.Int64
	handshakeFailed             atomic.Int64
	requestBytes, responseBytes atomic.Int64
	cpu                         [2]atomic.Int64 // nanoseconds that requests cost: reported, estimated
}

// bounds are the upper bounds of the duration's buckets.
var bounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second,
}

var stages = []sallyport.Stage{
	sallyport.StageRequest, sallyport.StageIdentify, sallyport.StageLimit, sallyport.StageAuthenticate, sallyport.StageAuthorise,
	sallyport.StageValidate, sallyport.StageInspect, sallyport.StageDecide, sallyport.StageRelieve, sallyport.StageRewrite, sallyport.StageForward,
}

func (c *counters) init() {
	c.refused = make(map[sallyport.Stage]*atomic.Int64, len(stages))
	for _, s := range stages {
		c.refused[s] = new(atomic.Int64)
	}
	c.cache.init()
}

func (c *counters) exchange(x *sallyport.Exchange) {
	c.status[min(max(x.Status/100, 0), 5)].Add(1)
	if x.Decision.Stage != "" {
		if n := c.refused[x.Decision.Stage]; n != nil {
			n.Add(1)
		}
	}
	i := 0
	for i < len(bounds) && x.Duration > bounds[i] {
		i++
	}
	c.buckets[i].Add(1)
	c.seconds.Add(int64(x.Duration))
	c.requestBytes.Add(x.RequestBytes)
	c.responseBytes.Add(x.ResponseBytes)
	if n := x.Cost.CPU; n > 0 {
		at := 0
		if x.Cost.Estimated {
			at = 1
		}
		c.cpu[at].Add(int64(n))
	}
}

// Metrics is a snapshot of what a gateway has counted since it was made.
type Metrics struct {
	Requests      map[string]int64          // by "2xx", …; "none": nothing was answered
	Refused       map[sallyport.Stage]int64 // by the stage that refused
	Tries         int64                     // requests sent to instances
	Retries       int64
	InFlight      int64
	Connections   int64 // open now
	Opened        int64 // connections accepted
	Rejected      int64 // connections closed because of a bound
	Handshakes    int64 // failed TLS handshakes
	RequestBytes  int64
	ResponseBytes int64
	Buffered      int64 // bytes of bodies held now
	Instances     map[string]map[sallyport.Admission]int
}

var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Metrics counts; it may be called at any time.
func (g *Gateway) Metrics() Metrics {
	c := &g.count
	m := Metrics{
		Requests: map[string]int64{}, Refused: map[sallyport.Stage]int64{}, Instances: map[string]map[sallyport.Admission]int{},
		Tries: c.tries.Load(), Retries: c.retries.Load(), InFlight: g.requests.n.Load(), Connections: g.conns.n.Load(),
		Opened: c.connOpened.Load(), Rejected: c.connRefused.Load(), Handshakes: c.handshakeFailed.Load(),
		RequestBytes: c.requestBytes.Load(), ResponseBytes: c.responseBytes.Load(), Buffered: g.buffered.n.Load(),
	}
	for i := range c.status {
		m.Requests[classes[i]] = c.status[i].Load()
	}
	for s, n := range c.refused {
		m.Refused[s] = n.Load()
	}
	for _, in := range g.Instances() {
		if m.Instances[in.API] == nil {
			m.Instances[in.API] = map[sallyport.Admission]int{}
		}
		m.Instances[in.API][in.Admission]++
	}
	return m
}

var (
	descRequests        = prometheus.NewDesc("sallyport_requests_total", "Requests by class of the status answered.", []string{"status"}, nil)
	descRefused         = prometheus.NewDesc("sallyport_refused_total", "Requests refused, by the stage that refused.", []string{"stage"}, nil)
	descDuration        = prometheus.NewDesc("sallyport_request_duration_seconds", "From the head of a request to the end of its answer.", nil, nil)
	descTries           = prometheus.NewDesc("sallyport_upstream_tries_total", "Requests sent to instances.", nil, nil)
	descRetries         = prometheus.NewDesc("sallyport_upstream_retries_total", "Of these, sent again to another instance.", nil, nil)
	descConversations   = prometheus.NewDesc("sallyport_websocket_open", "WebSocket connections whose messages are judged.", nil, nil)
	descMessages        = prometheus.NewDesc("sallyport_messages_total", "WebSocket messages that were judged.", nil, nil)
	descMessagesRefused = prometheus.NewDesc("sallyport_messages_refused_total", "WebSocket messages that were refused; each ended its connection.", nil, nil)
	descEventsRefused   = prometheus.NewDesc("sallyport_events_refused_total", "Server-sent events that were refused; each ended its stream.", nil, nil)
	descStripped        = prometheus.NewDesc("sallyport_stripped_total", "Answers that went out without something that came in them.", nil, nil)
	descRewritten       = prometheus.NewDesc("sallyport_rewritten_total", "Upstream errors that were answered by a problem in their place.", nil, nil)
	descInFlight        = prometheus.NewDesc("sallyport_requests_in_flight", "Requests in flight.", nil, nil)
	descConns           = prometheus.NewDesc("sallyport_connections", "Client connections open.", nil, nil)
	descOpened          = prometheus.NewDesc("sallyport_connections_opened_total", "Client connections accepted.", nil, nil)
	descRejected        = prometheus.NewDesc("sallyport_connections_rejected_total", "Client connections closed because of a bound.", nil, nil)
	descHandshake       = prometheus.NewDesc("sallyport_tls_handshakes_failed_total", "TLS handshakes that failed.", nil, nil)
	descBytes           = prometheus.NewDesc("sallyport_body_bytes_total", "Bytes of bodies passed.", []string{"direction"}, nil)
	descCost            = prometheus.NewDesc("sallyport_cost_cpu_seconds_total", "CPU time that requests cost their upstreams: reported by them, or estimated.", []string{"source"}, nil)
	descBuffered        = prometheus.NewDesc("sallyport_body_bytes_held", "Bytes of bodies held in memory.", nil, nil)
	descAnswered        = prometheus.NewDesc("sallyport_instance_requests_total", "Requests by instance: answered, or failed.", []string{"api", "instance", "outcome"}, nil)
	descInstances       = prometheus.NewDesc("sallyport_instances", "Instances by API and admission.", []string{"api", "admission"}, nil)
)

var _ prometheus.Collector = (*Gateway)(nil)

// Collectors are the gateway's metrics for a Prometheus registry.
func (g *Gateway) Collectors() []prometheus.Collector { return []prometheus.Collector{g} }

// Describe implements prometheus.Collector.
func (g *Gateway) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descEnds, descStapled, descOCSP} {
		ch <- d
	}
	for _, d := range []*prometheus.Desc{
		descRequests, descRefused, descDuration, descTries, descRetries, descRewritten, descStripped, descEventsRefused, descConversations, descMessages, descMessagesRefused, descInFlight, descConns, descOpened, descRejected, descHandshake,
		descBytes, descCost, descBuffered, descAnswered, descInstances,
	} {
		ch <- d
	}
	describeCache(ch)
	describePools(ch)
}

// Collect implements prometheus.Collector.
func (g *Gateway) Collect(ch chan<- prometheus.Metric) {
	m := g.Metrics()
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	level := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for class, n := range m.Requests {
		counter(descRequests, n, class)
	}
	for stage, n := range m.Refused {
		counter(descRefused, n, string(stage))
	}
	counter(descTries, m.Tries)
	counter(descRetries, m.Retries)
	counter(descRewritten, g.count.rewritten.Load())
	counter(descStripped, g.count.stripped.Load())
	counter(descEventsRefused, g.count.eventsRefused.Load())
	counter(descMessages, g.count.messages.Load())
	counter(descMessagesRefused, g.count.messagesRefused.Load())
	level(descConversations, g.count.conversations.Load())
	counter(descOpened, m.Opened)
	counter(descRejected, m.Rejected)
	counter(descHandshake, m.Handshakes)
	counter(descBytes, m.RequestBytes, "request")
	counter(descBytes, m.ResponseBytes, "response")
	for i, source := range []string{"reported", "estimated"} {
		ch <- prometheus.MustNewConstMetric(descCost, prometheus.CounterValue, time.Duration(g.count.cpu[i].Load()).Seconds(), source)
	}
	level(descInFlight, m.InFlight)
	level(descConns, m.Connections)
	level(descBuffered, m.Buffered)
	g.collectCache(counter, level)
	g.collectCertificates(ch)
	for api, states := range m.Instances {
		for state, n := range states {
			level(descInstances, int64(n), api, string(state))
		}
	}
	for _, l := range g.force.Load().lanes {
		p := l.pool
		for _, in := range *l.list.Load() {
			counter(descAnswered, in.served.Load(), p.name, in.url, "answered")
			counter(descAnswered, in.failed.Load(), p.name, in.url, "failed")
		}
	}
	g.collectPools(ch)
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i := range bounds {
		sum += uint64(g.count.buckets[i].Load())
		buckets[bounds[i].Seconds()] = sum
	}
	sum += uint64(g.count.buckets[len(bounds)].Load())
	ch <- prometheus.MustNewConstHistogram(descDuration, sum, time.Duration(g.count.seconds.Load()).Seconds(), buckets)
}
