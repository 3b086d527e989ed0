// Package shop is a correct fixture API, a shop of products and orders, and its
// mutants. In come requests as openapi.yaml describes them; out go the answers
// described there. Everything is in memory; nothing outlives the handler.
package shop

import (
	_ "embed"
	"encoding/base64"
	"encoding/csv"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/test/lab/mutants/defect"
	"sallyport.dev/test/lab/mutants/rest"
)

// Document is the OpenAPI description of the shop.
//
//go:embed openapi.yaml
var Document []byte

// Audience is what tokens for the shop are made for.
const Audience = "shop"

type product struct {
	Name     string   `json:"name"`
	Category string   `json:"category"`
	Price    int64    `json:"price"`
	Stock    int64    `json:"stock"`
	Tags     []string `json:"tags"`
	Image    *string  `json:"image"`
}

type productView struct {
	ID string `json:"id"`
	product
	Created string `json:"created"`
}

type storedProduct struct {
	product
	created time.Time
	cost    int64 // what the shop pays; nobody else's business
}

type item struct {
	Product   string `json:"product"`
	Quantity  int64  `json:"quantity"`
	UnitPrice int64  `json:"unit_price"`
}

type order struct {
	Owner   string
	Status  string
	Items   []item
	Email   string
	Note    *string
	Due     string
	Created time.Time
}

type orderView struct {
	ID      string  `json:"id"`
	Status  string  `json:"status"`
	Items   []item  `json:"items"`
	Total   int64   `json:"total"`
	Email   string  `json:"email"`
	Note    *string `json:"note"`
	Due     *string `json:"due"`
	Created string  `json:"created"`
}

type shop struct {
	defect.Options
	skip     rest.Skip
	tokens   *rest.Tokens
	bodies   *rest.Bodies
	replays  rest.Replays
	products *rest.Table[storedProduct]
	orders   *rest.Table[order]

	productBody, orderBody, patchBody, productQuery, orderQuery *rest.Schema
}

// New starts the shop with its five products and two orders.
func New(o defect.Options) http.Handler {
	o.Fill()
	m := defect.Select(mutants, o.Mutant)
	skip := rest.Skip(m.Check())
	s := &shop{Options: o, skip: skip, bodies: rest.NewBodies(skip), replays: rest.Replays{Skip: skip},
		tokens:   &rest.Tokens{Key: o.Key, Audience: Audience, Now: o.Now, Skip: skip},
		products: rest.NewTable[storedProduct]("products", skip), orders: rest.NewTable[order]("orders", skip)}
	s.compile()
	s.seed()
	return m.Wrap(rest.Routes(
		rest.On("GET", "/products", s.listProducts),
		rest.On("POST", "/products", s.createProduct),
		rest.On("GET", "/products/{productId}", s.readProduct),
		rest.On("PUT", "/products/{productId}", s.replaceProduct),
		rest.On("DELETE", "/products/{productId}", s.deleteProduct),
		rest.On("GET", "/catalogue", s.catalogue),
		rest.On("GET", "/orders", s.listOrders),
		rest.On("POST", "/orders", s.createOrder),
		rest.On("GET", "/orders/{orderId}", s.readOrder),
		rest.On("PATCH", "/orders/{orderId}", s.patchOrder),
		rest.On("DELETE", "/orders/{orderId}", s.deleteOrder),
		rest.On("GET", "/orders/{orderId}/items/{line}", s.readItem),
	), &s.Options)
}

var categories = []string{"books", "tools", "toys"}

func (s *shop) compile() {
	s.productBody = rest.Object(
		rest.Needs("name", rest.Text(1, 80)),
		rest.Needs("category", rest.OneOf(categories...)),
		rest.Needs("price", rest.Integer(1, 1_000_000)),
		rest.May("stock", rest.Integer(0, 10_000).Or(0)),
		rest.May("tags", rest.List(0, 5, rest.Matching(`^[a-z][a-z0-9-]{0,19}$`)).Distinct().Or([]any{})),
		rest.May("image", rest.Formatted("uri").Null()),
	).Name("product", s.skip)
	s.orderBody = rest.Object(
		rest.Needs("items", rest.List(1, 20, rest.Object(
			rest.Needs("product", rest.Formatted("uuid")),
			rest.Needs("quantity", rest.Integer(1, 100))))),
		rest.Needs("email", rest.Formatted("email")),
		rest.May("note", rest.Text(0, 200).Null()),
		rest.May("due", rest.Formatted("date")),
	).Name("order", s.skip)
	if s.skip.Skips("order.price") { // the caller's price is taken
		item := s.orderBody.Fields[0].Schema.Items
		item.Fields = append(item.Fields, rest.May("unit_price", rest.Integer(0, 1_000_000).Name("price", "")))
	}
	s.patchBody = rest.Object(
		rest.May("status", rest.OneOf("open", "cancelled")),
		rest.May("note", rest.Text(0, 200).Null()),
	).Name("patch", s.skip)
	if s.skip.Skips("order.status") {
		s.patchBody.Fields[0].Schema.Enum = append(s.patchBody.Fields[0].Schema.Enum, "paid")
	}
	s.productQuery = rest.Object(
		rest.May("page", rest.Integer(1, 1000).Or(1)),
		rest.May("per_page", rest.Integer(1, 100).Or(20)),
		rest.May("category", rest.OneOf(categories...)),
		rest.May("min_price", rest.Integer(0, 1_000_000)),
		rest.May("sort", rest.OneOf("name", "-name", "price", "-price").Or("name")),
	).Name("products", s.skip)
	s.orderQuery = rest.Object(
		rest.May("cursor", rest.Matching(`^[A-Za-z0-9_-]{1,100}$`)),
		rest.May("limit", rest.Integer(1, 50).Or(10)),
		rest.May("status", rest.OneOf("open", "cancelled")),
	).Name("orderlist", s.skip)
}

func (s *shop) seed() {
	made := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	for i, p := range []product{
		{"Atlas of Rivers", "books", 3450, 12, []string{"maps"}, nil},
		{"Brass Hinge", "tools", 420, 900, []string{}, nil},
		{"Claw Hammer", "tools", 1890, 75, []string{"steel", "wood"}, nil},
		{"Dancing Bear", "toys", 1299, 30, []string{}, nil},
		{"Encyclopaedia of Knots", "books", 5200, 4, []string{"rope"}, nil},
	} {
		s.products.Seed("00000000-0000-4000-8000-00000000000"+strconv.Itoa(i+1), storedProduct{p, made, p.Price / 2})
	}
	hammer := item{"00000000-0000-4000-8000-000000000003", 2, 1890}
	s.orders.Seed("00000000-0000-4000-8000-0000000000a1", order{"alice", "open", []item{hammer}, "alice@example.test", nil, "2026-12-24", made})
	s.orders.Seed("00000000-0000-4000-8000-0000000000b1", order{"bob", "open", []item{hammer}, "bob@example.test", nil, "", made})
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func viewProduct(r rest.Row[storedProduct]) productView {
	return productView{r.ID, r.Value.product, stamp(r.Value.created)}
}

func viewOrder(r rest.Row[order]) orderView {
	v := orderView{ID: r.ID, Status: r.Value.Status, Items: r.Value.Items, Email: r.Value.Email, Note: r.Value.Note, Created: stamp(r.Value.Created)}
	if r.Value.Due != "" {
		v.Due = &r.Value.Due
	}
	for _, it := range r.Value.Items {
		v.Total += it.Quantity * it.UnitPrice
	}
	return v
}

func (s *shop) who(r *http.Request) (rest.Principal, error) { return s.tokens.Who(r) }

// admin admits administrators alone.
func (s *shop) admin(r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	if !who.Admin() && !s.skip.Skips("admin") {
		return rest.Fail(http.StatusForbidden, "for administrators")
	}
	return nil
}

type productPage struct {
	Items   []productView `json:"items"`
	Page    int           `json:"page"`
	PerPage int           `json:"per_page"`
	Total   int           `json:"total"`
}

func (s *shop) listProducts(w http.ResponseWriter, r *http.Request) error {
	media, err := rest.Negotiate(r, "application/json", "text/csv")
	if err != nil {
		return err
	}
	var q struct {
		Page     int
		PerPage  int `json:"per_page"`
		Category string
		MinPrice int64 `json:"min_price"`
		Sort     string
	}
	if err := s.productQuery.Params(r, &q); err != nil {
		return err
	}
	if q.PerPage < 1 { // only without its lower bound
		q.PerPage = 1
	}
	rows := s.products.List(func(p rest.Row[storedProduct]) bool {
		return (q.Category == "" || p.Value.Category == q.Category) && p.Value.Price >= q.MinPrice
	})
	sortProducts(rows, q.Sort)
	page := productPage{[]productView{}, q.Page, q.PerPage, len(rows)}
	from := min(max(0, q.Page-1)*q.PerPage, len(rows))
	for _, row := range rows[from:min(from+q.PerPage, len(rows))] {
		page.Items = append(page.Items, viewProduct(row))
	}
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=60")
	h.Set("Vary", "Accept")
	if link := pageLinks(r.URL, q.Page, (len(rows)+q.PerPage-1)/q.PerPage); link != "" {
		h.Set("Link", link)
	}
	if media == "text/csv" {
		return writeCSV(w, page.Items)
	}
	return rest.WriteJSON(w, http.StatusOK, page)
}

func sortProducts(rows []rest.Row[storedProduct], by string) {
	slices.SortStableFunc(rows, func(a, b rest.Row[storedProduct]) int {
		n := strings.Compare(a.Value.Name, b.Value.Name)
		if strings.HasSuffix(by, "price") {
			n = int(a.Value.Price - b.Value.Price)
		}
		if strings.HasPrefix(by, "-") {
			n = -n
		}
		return n
	})
}

func pageLinks(u *url.URL, page, pages int) string {
	var links []string
	add := func(n int, rel string) {
		q := u.Query()
		q.Set("page", strconv.Itoa(n))
		links = append(links, "<"+u.Path+"?"+q.Encode()+">; rel=\""+rel+"\"")
	}
	if page > 1 && page <= pages {
		add(page-1, "prev")
	}
	if page < pages {
		add(page+1, "next")
	}
	return strings.Join(links, ", ")
}

func writeCSV(w http.ResponseWriter, items []productView) error {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	c := csv.NewWriter(w)
	_ = c.Write([]string{"id", "name", "category", "price"})
	for _, p := range items {
		_ = c.Write([]string{p.ID, p.Name, p.Category, strconv.FormatInt(p.Price, 10)})
	}
	c.Flush()
	return c.Error()
}

func (s *shop) catalogue(w http.ResponseWriter, r *http.Request) error {
	if _, err := rest.Negotiate(r, "application/json"); err != nil {
		return err
	}
	names := []string{}
	for _, p := range s.products.List(nil) {
		names = append(names, p.Value.Name)
	}
	h := w.Header()
	h.Set("Deprecation", "@1767225600")
	h.Set("Sunset", "Thu, 31 Dec 2037 23:59:59 GMT")
	h.Set("Link", `</products>; rel="successor-version"`)
	return rest.WriteJSON(w, http.StatusOK, map[string][]string{"names": names})
}

func (s *shop) createProduct(w http.ResponseWriter, r *http.Request) error {
	if err := s.admin(r); err != nil {
		return err
	}
	var p product
	if err := s.bodies.Read(w, r, s.productBody, &p); err != nil {
		return err
	}
	row, err := s.products.Insert(s.ID(), storedProduct{p, s.Now(), p.Price / 2})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/products/"+row.ID)
	w.Header().Set("ETag", rest.Tag(row.Version))
	return rest.WriteJSON(w, http.StatusCreated, viewProduct(row))
}

func (s *shop) readProduct(w http.ResponseWriter, r *http.Request) error {
	if _, err := rest.Negotiate(r, "application/json"); err != nil {
		return err
	}
	row, err := s.product(r)
	if err != nil {
		return err
	}
	if done, err := rest.Match(w, r, rest.Tag(row.Version), false); done || err != nil {
		return err
	}
	w.Header().Set("ETag", rest.Tag(row.Version))
	w.Header().Set("Cache-Control", "public, max-age=60")
	return rest.WriteJSON(w, http.StatusOK, viewProduct(row))
}

func (s *shop) product(r *http.Request) (rest.Row[storedProduct], error) {
	id, err := rest.PathID(r, "productId")
	if err != nil {
		return rest.Row[storedProduct]{}, err
	}
	row, ok := s.products.Get(id)
	if !ok {
		return row, rest.Fail(http.StatusNotFound, "no such product")
	}
	return row, nil
}

func (s *shop) replaceProduct(w http.ResponseWriter, r *http.Request) error {
	if err := s.admin(r); err != nil {
		return err
	}
	id, err := rest.PathID(r, "productId")
	if err != nil {
		return err
	}
	var p product
	if err := s.bodies.Read(w, r, s.productBody, &p); err != nil {
		return err
	}
	row, err := s.products.Update(id, func(row *rest.Row[storedProduct]) error {
		if !s.skip.Skips("products.precondition") {
			if _, err := rest.Match(w, r, rest.Tag(row.Version), true); err != nil {
				return err
			}
		}
		row.Value.product = p
		return nil
	})
	if err != nil {
		return err
	}
	w.Header().Set("ETag", rest.Tag(row.Version))
	return rest.WriteJSON(w, http.StatusOK, viewProduct(row))
}

func (s *shop) deleteProduct(w http.ResponseWriter, r *http.Request) error {
	if err := s.admin(r); err != nil {
		return err
	}
	id, err := rest.PathID(r, "productId")
	if err != nil {
		return err
	}
	err = s.products.Delete(id, func(row rest.Row[storedProduct]) error {
		_, err := rest.Match(w, r, rest.Tag(row.Version), false)
		return err
	})
	if err != nil {
		return err
	}
	return rest.Empty(w)
}

type orderPage struct {
	Items []orderView `json:"items"`
	Next  *string     `json:"next"`
}

func (s *shop) listOrders(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	var q struct {
		Cursor, Status string
		Limit          int
	}
	if err := s.orderQuery.Params(r, &q); err != nil {
		return err
	}
	rows := s.orders.List(func(o rest.Row[order]) bool {
		mine := o.Value.Owner == who.Name || who.Admin() || s.skip.Skips("orders.list.owner")
		return mine && (q.Status == "" || o.Value.Status == q.Status)
	})
	if q.Cursor != "" {
		after, err := base64.RawURLEncoding.DecodeString(q.Cursor)
		at := slices.IndexFunc(rows, func(o rest.Row[order]) bool { return o.ID == string(after) })
		if err != nil || at < 0 {
			return rest.Invalid("cursor", "unknown")
		}
		rows = rows[at+1:]
	}
	page := orderPage{Items: []orderView{}}
	limit := max(q.Limit, 1)
	for i, row := range rows {
		if i == limit {
			next := base64.RawURLEncoding.EncodeToString([]byte(rows[i-1].ID))
			page.Next = &next
			break
		}
		page.Items = append(page.Items, viewOrder(row))
	}
	return rest.WriteJSON(w, http.StatusOK, page)
}

func (s *shop) createOrder(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	return s.replays.Once(who, w, r, func(w http.ResponseWriter, r *http.Request) error {
		var in struct {
			Items []item
			Email string
			Note  *string
			Due   string
		}
		if err := s.bodies.Read(w, r, s.orderBody, &in); err != nil {
			return err
		}
		for i := range in.Items {
			p, ok := s.products.Get(in.Items[i].Product)
			if !ok && !s.skip.Skips("order.product") {
				return rest.Invalid("/items/"+strconv.Itoa(i)+"/product", "unknown")
			}
			if in.Items[i].UnitPrice == 0 {
				in.Items[i].UnitPrice = p.Value.Price
			}
		}
		row, err := s.orders.Insert(s.ID(), order{who.Name, "open", in.Items, in.Email, in.Note, in.Due, s.Now()})
		if err != nil {
			return err
		}
		w.Header().Set("Location", "/orders/"+row.ID)
		w.Header().Set("ETag", rest.Tag(row.Version))
		return rest.WriteJSON(w, http.StatusCreated, viewOrder(row))
	})
}

// mine fails with 404, as if it were not there, for an order of somebody else.
func (s *shop) mine(verb string, who rest.Principal, o order) error {
	if o.Owner != who.Name && !who.Admin() && !s.skip.Skips("orders."+verb+".owner") {
		return rest.Fail(http.StatusNotFound, "no such resource")
	}
	return nil
}

func (s *shop) order(r *http.Request) (rest.Row[order], error) {
	who, err := s.who(r)
	if err != nil {
		return rest.Row[order]{}, err
	}
	id, err := rest.PathID(r, "orderId")
	if err != nil {
		return rest.Row[order]{}, err
	}
	row, ok := s.orders.Get(id)
	if !ok {
		return row, rest.Fail(http.StatusNotFound, "no such resource")
	}
	return row, s.mine("read", who, row.Value)
}

func (s *shop) readOrder(w http.ResponseWriter, r *http.Request) error {
	row, err := s.order(r)
	if err != nil {
		return err
	}
	if done, err := rest.Match(w, r, rest.Tag(row.Version), false); done || err != nil {
		return err
	}
	w.Header().Set("ETag", rest.Tag(row.Version))
	return rest.WriteJSON(w, http.StatusOK, viewOrder(row))
}

func (s *shop) readItem(w http.ResponseWriter, r *http.Request) error {
	row, err := s.order(r)
	if err != nil {
		return err
	}
	line, err := strconv.Atoi(r.PathValue("line"))
	switch {
	case err != nil || line < 1 || line > 20:
		return rest.Invalid("line", "range")
	case line > len(row.Value.Items):
		return rest.Fail(http.StatusNotFound, "no such line")
	}
	return rest.WriteJSON(w, http.StatusOK, row.Value.Items[line-1])
}

func (s *shop) patchOrder(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	id, err := rest.PathID(r, "orderId")
	if err != nil {
		return err
	}
	in := map[string]*string{}
	if err := s.bodies.ReadAs(w, r, s.patchBody, &in, "application/merge-patch+json"); err != nil {
		return err
	}
	row, err := s.orders.Update(id, func(row *rest.Row[order]) error {
		if err := s.mine("write", who, row.Value); err != nil {
			return err
		}
		if _, err := rest.Match(w, r, rest.Tag(row.Version), false); err != nil {
			return err
		}
		if status := in["status"]; status != nil {
			if row.Value.Status == "cancelled" && *status == "open" && !s.skip.Skips("orders.final") {
				return rest.Fail(http.StatusConflict, "a cancelled order stays so")
			}
			row.Value.Status = *status
		}
		if note, ok := in["note"]; ok {
			row.Value.Note = note
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.Header().Set("ETag", rest.Tag(row.Version))
	return rest.WriteJSON(w, http.StatusOK, viewOrder(row))
}

func (s *shop) deleteOrder(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	id, err := rest.PathID(r, "orderId")
	if err != nil {
		return err
	}
	err = s.orders.Delete(id, func(row rest.Row[order]) error { return s.mine("delete", who, row.Value) })
	if err != nil {
		return err
	}
	return rest.Empty(w)
}
