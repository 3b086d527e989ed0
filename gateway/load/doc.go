// Package load keeps one pool of instances from doing more than it can: how
// many requests it has at once, who of those who wait is next, and who is turned
// away first when it is hot.
//
// In come requests by who asks for what (Ask), what became of them (Sample), and
// how busy the upstream is: load reports, a Prometheus page, cgroup and PSI
// files. Out go tickets, or refusals that say why. It never looks at a request
// itself, never dials the upstream for one, and holds a bounded number of
// callers, operations and waiting requests, whatever names they come under.
//
// Order of a request: shed when hot · share when others are harmed · room ·
// queue. One mutex per pool is held for each of the steps, never while waiting.
package load
