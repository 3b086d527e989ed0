package inventory

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"slices"
	"strings"

	"sallyport.dev"
)

// spot is one path prefix of a host, and whose it is.
type spot struct {
	path, api, origin string
}

// home is the API an asset belongs to; origin is the name before a merge.
type home struct {
	api, origin string
}

// locator finds the API that somebody speaks of: by its name, else by host and
// path, else by address. It mirrors the tables and is made anew whenever
// somebody else changed them.
type locator struct {
	names     map[string]home
	hosts     map[string][]spot // longest path first
	paths     []spot            // of APIs that answer under any host
	addresses map[string]home
	proposed  int
}

// hostOf is host in lower case, without port and without a final dot.
func hostOf(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

func pathOf(path string) string {
	path, _, _ = strings.Cut(path, "?")
	path = strings.TrimRight(clean(path), "/")
	if path != "" && path[0] != '/' {
		path = "/" + path
	}
	return path
}

func (l *locator) addSpot(host string, s spot) {
	list := append(l.hosts[host], s)
	slices.SortStableFunc(list, func(a, b spot) int { return len(b.path) - len(a.path) })
	l.hosts[host] = list
}

func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

func (l *locator) at(host, path string) (home, bool) {
	for h := host; h != ""; {
		for _, s := range l.hosts[h] {
			if under(path, s.path) {
				return home{s.api, s.origin}, true
			}
		}
		if p, wild := strings.CutPrefix(h, "*."); wild {
			_, h, _ = strings.Cut(p, ".")
		} else {
			_, h, _ = strings.Cut(h, ".")
		}
		if h != "" {
			h = "*." + h
		}
	}
	if path != "" {
		for _, s := range l.paths {
			if under(path, s.path) {
				return home{s.api, s.origin}, true
			}
		}
	}
	return home{}, false
}

// locator gives the one in use, read from the tables when there is none.
func (w *writer) locator() (*locator, error) {
	if w.v.locate != nil {
		return w.v.locate, nil
	}
	l := &locator{names: map[string]home{}, hosts: map[string][]spot{}, addresses: map[string]home{}}
	merged := map[string]string{}
	rows, err := w.tx.Tx.QueryContext(w.ctx, "SELECT name, hosts, path, state, merged_into FROM inventory_api ORDER BY configured DESC, name")
	if err != nil {
		return nil, err
	}
	if err := each(rows, func() error {
		var name, list, path, state, into string
		if err := rows.Scan(&name, &list, &path, &state, &into); err != nil {
			return err
		}
		if name == "" {
			return nil
		}
		l.names[name] = home{name, name}
		if state == stateMerged {
			merged[name] = into
			return nil
		}
		if state == stateProposed {
			l.proposed++
		}
		var hosts []string
		if err := json.Unmarshal([]byte(list), &hosts); err != nil {
			return err
		}
		for _, h := range hosts {
			l.addSpot(hostOf(h), spot{pathOf(path), name, name})
		}
		if len(hosts) == 0 && path != "" && state == "" {
			l.paths = append(l.paths, spot{pathOf(path), name, name})
		}
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortStableFunc(l.paths, func(a, b spot) int { return len(b.path) - len(a.path) })
	for name := range merged {
		into := name
		for range 10 { // merges of merges; a ring can't be made, and would end here
			next, again := merged[into]
			if !again {
				break
			}
			into = next
		}
		l.names[name] = home{into, name}
	}
	rows, err = w.tx.Tx.QueryContext(w.ctx, "SELECT host, path, address, api, origin FROM inventory_location")
	if err != nil {
		return nil, err
	}
	if err := each(rows, func() error {
		var host, path, address string
		var h home
		if err := rows.Scan(&host, &path, &address, &h.api, &h.origin); err != nil {
			return err
		}
		if address != "" {
			l.addresses[address] = h
		} else {
			l.addSpot(host, spot{path, h.api, h.origin})
		}
		return nil
	}); err != nil {
		return nil, err
	}
	w.v.locate = l
	return l, nil
}

// States of the row of an API.
const (
	stateProposed = "proposed"
	stateAccepted = "accepted"
	stateIgnored  = "ignored"
	stateMerged   = "merged"
)

// maxName bounds the name of a proposed API.
const maxName = 200

func nameOf(s string) string {
	if len(s) <= maxName {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.ToValidUTF8(s[:maxName-17], "") + "~" + hex.EncodeToString(sum[:8])
}

// home finds the API of an asset; one that nothing knows becomes a proposal.
func (w *writer) home(a *sallyport.Asset) (home, error) {
	l, err := w.locator()
	if err != nil {
		return home{}, err
	}
	name, host, path, address := clean(a.API), hostOf(clean(a.Host)), pathOf(a.Path), strings.ToLower(clean(a.Address))
	if name == "" && host == "" && address == "" && path == "" {
		return home{}, sallyport.Errorf(sallyport.Invalid, "the asset says neither API, host, path nor address")
	}
	h, found := l.names[name]
	if !found && host != "" {
		h, found = l.at(host, path)
	}
	if !found && host == "" && path != "" && address == "" && name == "" {
		h, found = l.at("", path)
	}
	if !found && address != "" {
		h, found = l.addresses[address]
	}
	if !found {
		if h, err = w.propose(l, cmp.Or(name, host+path, address), host, path); err != nil {
			return home{}, err
		}
	}
	// What else the asset says of its place is remembered, where nobody else has it.
	if host != "" && (name != "" || address != "") {
		if err := w.place(l, host, path, "", h); err != nil {
			return home{}, err
		}
	}
	if address != "" {
		err = w.place(l, "", "", address, h)
	}
	return h, err
}

// propose makes a row for an API that nothing knew.
func (w *writer) propose(l *locator, name, host, path string) (home, error) {
	if name = nameOf(name); l.names[name].api != "" {
		return l.names[name], nil
	}
	if l.proposed >= w.v.o.Proposed {
		return home{}, sallyport.Errorf(sallyport.Limited, "%d APIs are proposed already: deal with some of them first", l.proposed)
	}
	if _, err := w.api(name); err != nil {
		return home{}, err
	}
	hosts := []string{}
	if host != "" {
		hosts = append(hosts, host)
	}
	b, _ := json.Marshal(hosts)
	if err := w.exec("UPDATE inventory_api SET state = ?, hosts = ?, path = ?, known_at = ? WHERE name = ?", stateProposed, string(b), path, w.now, name); err != nil {
		return home{}, err
	}
	l.proposed++
	h := home{name, name}
	l.names[name] = h
	if host != "" {
		l.addSpot(host, spot{path, name, name})
	}
	w.change(key{api: name}, "proposed", host+path)
	return h, nil
}

// maxLocations bounds what is remembered of where APIs are.
const maxLocations = 200_000

// place remembers that an API is found at host and path, or at address.
func (w *writer) place(l *locator, host, path, address string, h home) error {
	if address != "" {
		if _, taken := l.addresses[address]; taken || len(l.addresses) >= maxLocations {
			return nil
		}
		l.addresses[address] = h
	} else {
		if slices.ContainsFunc(l.hosts[host], func(s spot) bool { return s.path == path }) || len(l.hosts) >= maxLocations {
			return nil
		}
		l.addSpot(host, spot{path, h.api, h.origin})
	}
	return w.exec("INSERT INTO inventory_location (host, path, address, api, origin) VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING", host, path, address, h.api, h.origin)
}

// displace forgets it again.
func (w *writer) displace(host, address string, h home) error {
	w.v.locate = nil
	if address != "" {
		return w.exec("DELETE FROM inventory_location WHERE address = ? AND api = ?", address, h.api)
	}
	return w.exec("DELETE FROM inventory_location WHERE host = ? AND api = ?", host, h.api)
}

// operation finds the operation an asset speaks of, "" for the API as a whole.
// Names of arguments make no difference; one that nobody knew gets a row, up
// to the bound.
func (w *writer) operation(api string, a *sallyport.Asset) (key, error) {
	method, template := clean(strings.ToUpper(a.Method)), clean(a.Template)
	if template == "" {
		return key{api: api}, nil
	}
	if method == "" {
		return key{}, sallyport.Errorf(sallyport.Invalid, "the asset has a template and no method")
	}
	if m := clean(a.Method); m != method && strings.ToLower(m) == m && !isHTTP(method) {
		method = m // "query", "rpc": the verbs of bodies that name their operations
	}
	k := key{api, method, template}
	if w.known == nil {
		w.known = map[string]map[string]string{}
	}
	templates := w.known[api]
	if templates == nil {
		templates = map[string]string{}
		// The declared ones are read last, so that they stand.
		rows, err := w.tx.Tx.QueryContext(w.ctx, w.v.query("SELECT method, template FROM inventory_operation WHERE api = ? ORDER BY declared, id"), api)
		if err != nil {
			return key{}, err
		}
		if err := each(rows, func() error {
			var m, t string
			err := rows.Scan(&m, &t)
			templates[m+" "+arguments.ReplaceAllString(t, "{}")] = t
			return err
		}); err != nil {
			return key{}, err
		}
		w.known[api] = templates
	}
	bare := method + " " + arguments.ReplaceAllString(template, "{}")
	if t, ok := templates[bare]; ok {
		k.template = t
		return k, nil
	}
	if len(templates) >= w.v.o.Claimed {
		return key{}, sallyport.Errorf(sallyport.Limited, "API %q has %d operations: a claim adds no more", api, len(templates))
	}
	templates[bare] = template
	if err := w.exec("INSERT INTO inventory_operation (api, method, template, claimed) VALUES (?,?,?,1) ON CONFLICT (api, template, method) DO NOTHING", k.api, k.method, k.template); err != nil {
		return key{}, err
	}
	w.change(k, "claimed", "")
	return k, nil
}

func isHTTP(method string) bool {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY":
		return true
	}
	return false
}
