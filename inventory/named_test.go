package inventory_test

import (
	"testing"

	"sallyport.dev"
	"sallyport.dev/inventory"
	"sallyport.dev/store"
)

// One request that asks for several operations counts for each of them.
func TestOperationsThatABodyNames(t *testing.T) {
	onEach(t, func(t *testing.T, o store.Options) {
		s := openStore(t, o)
		v := openInventory(t, s, inventory.Options{})
		ops := []sallyport.Operation{{API: "shop", Method: "query", Template: "user", Declared: true}, {API: "shop", Method: "mutation", Template: "pay", Declared: true}}
		if err := v.Declare(t.Context(), shop, ops); err != nil {
			t.Fatal(err)
		}
		count(t, v, publish(t, s, sallyport.SubjectExchange, sallyport.Event{Exchanges: []sallyport.Exchange{
			exchange(1, func(x *sallyport.Exchange) {
				x.Method, x.Verb, x.Template, x.Also = "POST", "query", "user", []string{"mutation pay"}
			}),
			exchange(2, func(x *sallyport.Exchange) { x.Method, x.Verb, x.Template = "POST", "mutation", "pay" }),
		}}))
		for key, want := range map[string]int64{"query user": 1, "mutation pay": 2} {
			if d := detail(t, v, "shop", key); d.Requests != want || !d.Declared {
				t.Errorf("%s: %d requests, declared %v; want %d, declared", key, d.Requests, d.Declared, want)
			}
		}
	})
}
