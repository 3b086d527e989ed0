package main

import (
	"context"

	"sallyport.dev/discovery"
)

func (l learning) Templates(api string) []discovery.Template { return l.e.discovery.Templates(api) }
func (l learning) Rules(api string) []discovery.Rule         { return l.e.discovery.Rules(api) }

func (l learning) Match(api, path string) (discovery.Matched, bool) {
	return l.e.discovery.Match(api, path)
}

func (l learning) AddRule(ctx context.Context, r discovery.Rule) (discovery.Rule, error) {
	return l.e.discovery.AddRule(ctx, r)
}

func (l learning) UndoRule(ctx context.Context, api, id, by string) (discovery.Rule, error) {
	return l.e.discovery.UndoRule(ctx, api, id, by)
}
