// Package haproxy reads what HAProxy knows, and opens and closes its servers. In
// come haproxy.cfg, the runtime socket of a running HAProxy, and the instances of
// an API as the gate has judged them; out go claims about hosts, paths and
// instances (Catalogue, which only ever asks `show servers state` and `show
// stat`), and the states of a backend's servers (Door). A door opens nothing that
// is not named as admitted, and nothing at all when what the socket shows is not
// wholly understood.
package haproxy
