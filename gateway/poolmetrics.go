package gateway

import "github.com/prometheus/client_golang/prometheus"

var (
	descPoolLimit    = prometheus.NewDesc("sallyport_pool_limit", "Requests in flight at once that a pool admits.", []string{"api"}, nil)
	descPoolInFlight = prometheus.NewDesc("sallyport_pool_requests_in_flight", "Requests in flight to a pool, by class.", []string{"api", "class"}, nil)
	descPoolQueued   = prometheus.NewDesc("sallyport_pool_requests_queued", "Requests that wait for a place, by class.", []string{"api", "class"}, nil)
	descPoolAdmitted = prometheus.NewDesc("sallyport_pool_requests_admitted_total", "Requests that got a place, by class.", []string{"api", "class"}, nil)
	descPoolShed     = prometheus.NewDesc("sallyport_pool_requests_shed_total", "Requests turned away to spare the upstream, by class.", []string{"api", "class"}, nil)
	descPoolRefused  = prometheus.NewDesc("sallyport_pool_refused_total", "The same, by the rule that turned them away.", []string{"api", "rule"}, nil)
	descPoolLoad     = prometheus.NewDesc("sallyport_pool_load_ratio", "How busy the upstream is, 1 = all that it has, as far as it is known.", []string{"api", "of"}, nil)
	descPoolCut      = prometheus.NewDesc("sallyport_pool_cut_ratio", "Part of the expected cost that is turned away because a threshold is exceeded.", []string{"api"}, nil)
	descPoolEjected  = prometheus.NewDesc("sallyport_pool_instances_ejected", "Instances that are left out after failures.", []string{"api"}, nil)
	descPoolReports  = prometheus.NewDesc("sallyport_load_reports_total", "Load reports (ORCA) of upstreams: read, or malformed.", []string{"outcome"}, nil)
)

func describePools(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPoolLimit, descPoolInFlight, descPoolQueued, descPoolAdmitted, descPoolShed, descPoolRefused,
		descPoolLoad, descPoolCut, descPoolEjected, descPoolReports} {
		ch <- d
	}
}

func (g *Gateway) collectPools(ch chan<- prometheus.Metric) {
	level := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(descPoolReports, g.count.reports.Load(), "read")
	counter(descPoolReports, g.count.badReports.Load(), "malformed")
	for _, p := range g.Pools() {
		ejected := 0
		for _, in := range p.Instances {
			if in.Left > 0 {
				ejected++
			}
		}
		level(descPoolEjected, float64(ejected), p.API)
		s := p.Load
		if s == nil {
			continue
		}
		level(descPoolLimit, s.Limit, p.API)
		level(descPoolCut, s.Cut, p.API)
		level(descPoolLoad, s.Load.CPU, p.API, "cpu")
		level(descPoolLoad, s.Load.Memory, p.API, "memory")
		level(descPoolLoad, s.Load.Pressure, p.API, "pressure")
		for _, c := range s.Classes {
			name := c.Name
			if name == "" {
				name = "other"
			}
			level(descPoolInFlight, float64(c.InFlight), p.API, name)
			level(descPoolQueued, float64(c.Queued), p.API, name)
			counter(descPoolAdmitted, c.Admitted, p.API, name)
			counter(descPoolShed, c.Shed, p.API, name)
		}
		for rule, n := range s.Refused {
			counter(descPoolRefused, n, p.API, rule)
		}
	}
}
