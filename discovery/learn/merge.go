package learn

// Parameters says how many parameters the path has, before anything is merged
// into a new Operation.
func (o *Operation) Parameters(n int) {
	for len(o.Path) < n && len(o.Path) < 16 {
		o.Path = append(o.Path, &Value{})
	}
}

// Merge takes in what was learned under another template. One process reads the
// whole stream, so nodes never merge what they learned. The other
// is not changed, and shares nothing with o afterwards but words.
func (o *Operation) Merge(b *Operation) {
	if b == nil {
		return
	}
	if o.Count == 0 && len(o.Path) == 0 {
		for range b.Path {
			o.Path = append(o.Path, &Value{})
		}
	}
	o.Count += b.Count
	o.Taught += b.Taught
	if o.First == 0 || b.First != 0 && b.First < o.First {
		o.First = b.First
	}
	o.Last = max(o.Last, b.Last)
	o.Plain += b.Plain
	o.Slashed += b.Slashed
	o.Bodies += b.Bodies
	o.Odd += b.Odd
	if len(b.Path) > len(o.Path) { // a template that was folded has more parameters: those before it are unknown
		o.Path = make([]*Value, len(b.Path))
		for i := range o.Path {
			o.Path[i] = &Value{}
			o.Path[i].add("")
		}
	}
	for i := range b.Path {
		if len(b.Path) == len(o.Path) {
			o.Path[i].merge(b.Path[i])
		}
	}
	if len(b.Path) < len(o.Path) {
		for i := range o.Path { // which of them b's are is not known, and the folded ones were words
			o.Path[i].add("")
		}
	}
	for k, p := range b.Params {
		have := o.Params[k]
		if have == nil {
			if len(o.Params) >= maxParams {
				continue
			}
			if o.Params == nil {
				o.Params = map[string]*Param{}
			}
			have = &Param{}
			o.Params[k] = have
		}
		have.Count += p.Count
		have.Listed += p.Listed
		have.Value.merge(&p.Value)
	}
	o.Body = o.mergeMedia(o.Body, b.Body)
	for s, a := range b.Answers {
		if o.Answers == nil {
			o.Answers = map[int]*Answer{}
		}
		have := o.Answers[s]
		if have == nil {
			if len(o.Answers) >= maxStatuses {
				continue
			}
			have = &Answer{}
			o.Answers[s] = have
		}
		have.Count += a.Count
		have.Media = o.mergeMedia(have.Media, a.Media)
	}
	o.Auth = sum(o.Auth, b.Auth, 8)
	for k, c := range b.Calls {
		if o.Calls == nil {
			o.Calls = map[string]*Called{}
		}
		have := o.Calls[k]
		if have == nil {
			if len(o.Calls) >= maxCalls {
				continue
			}
			have = &Called{Arguments: map[string]string{}, Fields: map[string]uint64{}}
			o.Calls[k] = have
		}
		have.Count += c.Count
		have.Fields = sum(have.Fields, c.Fields, 512)
		for p, t := range c.Arguments {
			have.Arguments[p] = joined(have.Arguments[p], t)
		}
	}
}

func sum(a, b map[string]uint64, most int) map[string]uint64 {
	for k, n := range b {
		if a == nil {
			a = map[string]uint64{}
		}
		if _, ok := a[k]; ok || len(a) < most {
			a[k] += n
		}
	}
	return a
}

func (v *Value) merge(b *Value) {
	v.Count += b.Count
	v.Kinds = sum(v.Kinds, b.Kinds, 12)
	v.Words = v.Words.merge(b.Words)
}

func (w *Words) merge(b *Words) *Words {
	if b == nil {
		return w
	}
	if b.Closed {
		return &Words{Closed: true}
	}
	for k, n := range b.Counts {
		w = w.add(k, n)
	}
	return w
}

func (o *Operation) mergeMedia(a, b map[string]*Media) map[string]*Media {
	for k, m := range b {
		if a == nil {
			a = map[string]*Media{}
		}
		have := a[k]
		if have == nil {
			if len(a) >= maxMedia {
				continue
			}
			have = &Media{}
			a[k] = have
		}
		have.Count += m.Count
		have.Shaped += m.Shaped
		have.Cut += m.Cut
		if m.Schema != nil {
			if have.Schema == nil {
				have.Schema = &Node{}
				o.nodes++
			}
			o.mergeNode(have.Schema, m.Schema)
		}
	}
	return a
}

func (o *Operation) mergeNode(a, b *Node) {
	a.Seen += b.Seen
	a.Lacking += b.Lacking
	a.Types = sum(a.Types, b.Types, 16)
	a.Formats = sum(a.Formats, b.Formats, 12)
	a.Words = a.Words.merge(b.Words)
	for k, m := range b.Members {
		have := a.Members[k]
		if have == nil {
			if len(a.Members) >= maxMembers {
				continue
			}
			if have = o.node(); have == nil {
				continue
			}
			if a.Members == nil {
				a.Members = map[string]*Node{}
			}
			a.Members[k] = have
		}
		o.mergeNode(have, m)
	}
	for _, c := range []struct{ to, from **Node }{{&a.Items, &b.Items}, {&a.Others, &b.Others}} {
		if *c.from == nil {
			continue
		}
		if *c.to == nil {
			if *c.to = o.node(); *c.to == nil {
				continue
			}
		}
		o.mergeNode(*c.to, *c.from)
	}
}
