// Package accounts is a correct fixture API, accounts that hold documents, with
// owners, shares and administrators, and its mutants. In come requests as
// openapi.yaml describes them; out go the answers described there. Everything
// is in memory; nothing outlives the handler.
package accounts

import (
	_ "embed"
	"net/http"
	"regexp"
	"slices"
	"time"

	"sallyport.dev/test/lab/mutants/defect"
	"sallyport.dev/test/lab/mutants/rest"
)

// Document is the OpenAPI description of the API.
//
//go:embed openapi.yaml
var Document []byte

// Audience is what tokens for the API are made for.
const Audience = "accounts"

// IDs of what is there from the start: an account each, with one document each.
const (
	aliceAccount  = "00000000-0000-4000-8000-00000000a000"
	aliceDocument = "00000000-0000-4000-8000-00000000a001"
	bobAccount    = "00000000-0000-4000-8000-00000000b000"
	bobDocument   = "00000000-0000-4000-8000-00000000b001"
)

type account struct {
	Owner, Name, Plan string
	Created           time.Time
}

type document struct {
	Account, Title, Text string
	Labels               []string
	Shared               []string // names of who else may read it, sorted
	Changed              time.Time
}

type user struct {
	Name, Email, Role string
	Suspended         bool
}

type accountView struct {
	ID      string `json:"id"`
	Owner   string `json:"owner"`
	Name    string `json:"name"`
	Plan    string `json:"plan"`
	Created string `json:"created"`
}

type documentView struct {
	ID      string   `json:"id"`
	Account string   `json:"account"`
	Title   string   `json:"title"`
	Text    string   `json:"text"`
	Labels  []string `json:"labels"`
	Changed string   `json:"changed"`
}

type userView struct {
	Name      string `json:"name"`
	Email     string `json:"email"`
	Role      string `json:"role"`
	Suspended bool   `json:"suspended"`
}

type list[T any] struct {
	Items []T `json:"items"`
}

type api struct {
	defect.Options
	skip      rest.Skip
	tokens    *rest.Tokens
	bodies    *rest.Bodies
	accounts  *rest.Table[account]
	documents *rest.Table[document]
	users     *rest.Table[user]

	accountBody, accountPatch, documentBody, profileBody, userBody *rest.Schema
}

// New starts the API with alice, bob and root, and with an account and a
// document of alice and of bob.
func New(o defect.Options) http.Handler {
	o.Fill()
	m := defect.Select(mutants, o.Mutant)
	skip := rest.Skip(m.Check())
	a := &api{Options: o, skip: skip, bodies: rest.NewBodies(skip),
		tokens:   &rest.Tokens{Key: o.Key, Audience: Audience, Now: o.Now, Skip: skip},
		accounts: rest.NewTable[account]("accounts", skip), documents: rest.NewTable[document]("documents", skip),
		users: rest.NewTable[user]("users", skip)}
	a.compile()
	a.seed()
	return m.Wrap(rest.Routes(
		rest.On("GET", "/me", a.readProfile),
		rest.On("PATCH", "/me", a.changeProfile),
		rest.On("GET", "/users", a.listUsers),
		rest.On("PATCH", "/users/{user}", a.changeUser),
		rest.On("GET", "/accounts", a.listAccounts),
		rest.On("POST", "/accounts", a.createAccount),
		rest.On("GET", "/accounts/{accountId}", a.readAccount),
		rest.On("PATCH", "/accounts/{accountId}", a.changeAccount),
		rest.On("DELETE", "/accounts/{accountId}", a.deleteAccount),
		rest.On("GET", "/accounts/{accountId}/documents", a.listDocuments),
		rest.On("POST", "/accounts/{accountId}/documents", a.createDocument),
		rest.On("GET", "/accounts/{accountId}/documents/{documentId}", a.readDocument),
		rest.On("PUT", "/accounts/{accountId}/documents/{documentId}", a.replaceDocument),
		rest.On("DELETE", "/accounts/{accountId}/documents/{documentId}", a.deleteDocument),
		rest.On("GET", "/accounts/{accountId}/documents/{documentId}/shares", a.listShares),
		rest.On("PUT", "/accounts/{accountId}/documents/{documentId}/shares/{user}", a.share),
		rest.On("DELETE", "/accounts/{accountId}/documents/{documentId}/shares/{user}", a.unshare),
	), &a.Options)
}

func (a *api) compile() {
	a.accountBody = rest.Object(
		rest.Needs("name", rest.Text(1, 60)),
		rest.May("plan", rest.OneOf("free", "team").Or("free")),
	).Name("account", a.skip)
	if a.skip.Skips("account.owner") { // the caller's owner is taken
		a.accountBody.Fields = append(a.accountBody.Fields, rest.May("owner", rest.Text(1, 20).Name("owner", "")))
	}
	a.accountPatch = rest.Object(rest.May("name", rest.Text(1, 60))).Name("accountpatch", a.skip)
	a.documentBody = rest.Object(
		rest.Needs("title", rest.Text(1, 100)),
		rest.Needs("text", rest.Text(0, 10_000)),
		rest.May("labels", rest.List(0, 10, rest.Matching(`^[a-z]{1,20}$`)).Distinct().Or([]any{})),
	).Name("document", a.skip)
	a.profileBody = rest.Object(rest.Needs("email", rest.Formatted("email"))).Name("profile", a.skip)
	if a.skip.Skips("profile.role") { // the caller may choose a role
		a.profileBody.Fields = append(a.profileBody.Fields, rest.May("role", rest.OneOf("user", "admin").Name("role", "")))
	}
	a.userBody = rest.Object(rest.Needs("suspended", rest.Boolean())).Name("user", a.skip)
}

func (a *api) seed() {
	made := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)
	for _, u := range []user{{"alice", "alice@example.test", "user", false}, {"bob", "bob@example.test", "user", false}, {"root", "root@example.test", "admin", false}} {
		a.users.Seed(u.Name, u)
	}
	a.accounts.Seed(aliceAccount, account{"alice", "Alice's papers", "team", made})
	a.accounts.Seed(bobAccount, account{"bob", "Bob's papers", "free", made})
	a.documents.Seed(aliceDocument, document{aliceAccount, "Lease", "The flat on the second floor.", []string{"home"}, nil, made})
	a.documents.Seed(bobDocument, document{bobAccount, "Recipe", "Two eggs.", []string{}, nil, made})
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func viewAccount(r rest.Row[account]) accountView {
	return accountView{r.ID, r.Value.Owner, r.Value.Name, r.Value.Plan, stamp(r.Value.Created)}
}

func viewDocument(r rest.Row[document]) documentView {
	return documentView{r.ID, r.Value.Account, r.Value.Title, r.Value.Text, r.Value.Labels, stamp(r.Value.Changed)}
}

func viewUser(r rest.Row[user]) userView {
	return userView{r.Value.Name, r.Value.Email, r.Value.Role, r.Value.Suspended}
}

var errNotFound = rest.Fail(http.StatusNotFound, "no such resource")

// who gives the principal, who must not be suspended.
func (a *api) who(r *http.Request) (rest.Principal, error) {
	who, err := a.tokens.Who(r)
	if err != nil {
		return who, err
	}
	u, ok := a.users.Get(who.Name)
	if !ok || u.Value.Suspended && !a.skip.Skips("suspended") {
		return who, rest.Fail(http.StatusForbidden, "the user is suspended")
	}
	who.Role = u.Value.Role
	return who, nil
}

func (a *api) admin(r *http.Request, operation string) error {
	who, err := a.who(r)
	if err != nil {
		return err
	}
	if !who.Admin() && !a.skip.Skips("admin."+operation) {
		return rest.Fail(http.StatusForbidden, "for administrators")
	}
	return nil
}

// owns reports whether who may do all with the account; check names the place.
func (a *api) owns(who rest.Principal, owner, check string) bool {
	return owner == who.Name || who.Admin() || a.skip.Skips(check)
}

// account finds the account of the path for its owner or an administrator; for
// others it is not there.
func (a *api) account(r *http.Request, check string) (rest.Principal, rest.Row[account], error) {
	who, err := a.who(r)
	if err != nil {
		return who, rest.Row[account]{}, err
	}
	id, err := rest.PathID(r, "accountId")
	if err != nil {
		return who, rest.Row[account]{}, err
	}
	row, ok := a.accounts.Get(id)
	if !ok || !a.owns(who, row.Value.Owner, check) {
		return who, row, errNotFound
	}
	return who, row, nil
}

// document finds the document of the path in the account of the path, for the
// owner, an administrator or, for reading, those with whom it is shared.
func (a *api) document(r *http.Request, check string, reading bool) (rest.Row[document], error) {
	none := rest.Row[document]{}
	who, err := a.who(r)
	if err != nil {
		return none, err
	}
	accountID, err := rest.PathID(r, "accountId")
	if err != nil {
		return none, err
	}
	id, err := rest.PathID(r, "documentId")
	if err != nil {
		return none, err
	}
	parent, found := a.accounts.Get(accountID)
	row, ok := a.documents.Get(id)
	if !found || !ok || row.Value.Account != accountID && !a.skip.Skips("documents.parent") {
		return none, errNotFound
	}
	shared := reading && (slices.Contains(row.Value.Shared, who.Name) || a.skip.Skips("documents.share"))
	if !shared && !a.owns(who, parent.Value.Owner, check) {
		return none, errNotFound
	}
	return row, nil
}

func (a *api) readProfile(w http.ResponseWriter, r *http.Request) error {
	who, err := a.who(r)
	if err != nil {
		return err
	}
	u, _ := a.users.Get(who.Name)
	return rest.WriteJSON(w, http.StatusOK, viewUser(u))
}

func (a *api) changeProfile(w http.ResponseWriter, r *http.Request) error {
	who, err := a.who(r)
	if err != nil {
		return err
	}
	var in struct{ Email, Role string }
	if err := a.bodies.ReadAs(w, r, a.profileBody, &in, "application/merge-patch+json"); err != nil {
		return err
	}
	u, err := a.users.Update(who.Name, func(u *rest.Row[user]) error {
		u.Value.Email = in.Email
		if in.Role != "" {
			u.Value.Role = in.Role
		}
		return nil
	})
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, viewUser(u))
}

func (a *api) listUsers(w http.ResponseWriter, r *http.Request) error {
	if err := a.admin(r, "list"); err != nil {
		return err
	}
	out := list[userView]{[]userView{}}
	for _, u := range a.users.List(nil) {
		out.Items = append(out.Items, viewUser(u))
	}
	return rest.WriteJSON(w, http.StatusOK, out)
}

func (a *api) changeUser(w http.ResponseWriter, r *http.Request) error {
	if err := a.admin(r, "change"); err != nil {
		return err
	}
	name, err := userName(r)
	if err != nil {
		return err
	}
	var in struct{ Suspended bool }
	if err := a.bodies.ReadAs(w, r, a.userBody, &in, "application/merge-patch+json"); err != nil {
		return err
	}
	u, err := a.users.Update(name, func(u *rest.Row[user]) error {
		if u.Value.Role == "admin" {
			return rest.Fail(http.StatusConflict, "administrators are not suspended")
		}
		u.Value.Suspended = in.Suspended
		return nil
	})
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, viewUser(u))
}

var name = regexp.MustCompile(`^[a-z]{1,20}$`)

func userName(r *http.Request) (string, error) {
	if !name.MatchString(r.PathValue("user")) {
		return "", rest.Invalid("user", "pattern")
	}
	return r.PathValue("user"), nil
}

func (a *api) listAccounts(w http.ResponseWriter, r *http.Request) error {
	who, err := a.who(r)
	if err != nil {
		return err
	}
	out := list[accountView]{[]accountView{}}
	for _, row := range a.accounts.List(func(row rest.Row[account]) bool { return a.owns(who, row.Value.Owner, "accounts.list") }) {
		out.Items = append(out.Items, viewAccount(row))
	}
	return rest.WriteJSON(w, http.StatusOK, out)
}

func (a *api) createAccount(w http.ResponseWriter, r *http.Request) error {
	who, err := a.who(r)
	if err != nil {
		return err
	}
	in := struct{ Name, Plan, Owner string }{Owner: who.Name}
	if err := a.bodies.Read(w, r, a.accountBody, &in); err != nil {
		return err
	}
	row, err := a.accounts.Insert(a.ID(), account{in.Owner, in.Name, in.Plan, a.Now()})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/accounts/"+row.ID)
	return rest.WriteJSON(w, http.StatusCreated, viewAccount(row))
}

func (a *api) readAccount(w http.ResponseWriter, r *http.Request) error {
	_, row, err := a.account(r, "accounts.read")
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, viewAccount(row))
}

func (a *api) changeAccount(w http.ResponseWriter, r *http.Request) error {
	_, row, err := a.account(r, "accounts.write")
	if err != nil {
		return err
	}
	var in struct{ Name string }
	if err := a.bodies.ReadAs(w, r, a.accountPatch, &in, "application/merge-patch+json"); err != nil {
		return err
	}
	row, err = a.accounts.Update(row.ID, func(row *rest.Row[account]) error {
		if in.Name != "" {
			row.Value.Name = in.Name
		}
		return nil
	})
	if err != nil {
		return err
	}
	return rest.WriteJSON(w, http.StatusOK, viewAccount(row))
}

func (a *api) deleteAccount(w http.ResponseWriter, r *http.Request) error {
	_, row, err := a.account(r, "accounts.remove")
	if err != nil {
		return err
	}
	if err := a.accounts.Delete(row.ID, nil); err != nil {
		return err
	}
	for _, d := range a.documents.List(func(d rest.Row[document]) bool { return d.Value.Account == row.ID }) {
		_ = a.documents.Delete(d.ID, nil) // gone already is as good
	}
	return rest.Empty(w)
}

func (a *api) listDocuments(w http.ResponseWriter, r *http.Request) error {
	_, row, err := a.account(r, "documents.list.owner")
	if err != nil {
		return err
	}
	out := list[documentView]{[]documentView{}}
	for _, d := range a.documents.List(func(d rest.Row[document]) bool {
		return d.Value.Account == row.ID || a.skip.Skips("documents.list.parent")
	}) {
		out.Items = append(out.Items, viewDocument(d))
	}
	return rest.WriteJSON(w, http.StatusOK, out)
}

type documentInput struct {
	Title, Text string
	Labels      []string
}

func (a *api) createDocument(w http.ResponseWriter, r *http.Request) error {
	_, parent, err := a.account(r, "documents.create.owner")
	if err != nil {
		return err
	}
	var in documentInput
	if err := a.bodies.Read(w, r, a.documentBody, &in); err != nil {
		return err
	}
	row, err := a.documents.Insert(a.ID(), document{parent.ID, in.Title, in.Text, in.Labels, nil, a.Now()})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/accounts/"+parent.ID+"/documents/"+row.ID)
	w.Header().Set("ETag", rest.Tag(row.Version))
	return rest.WriteJSON(w, http.StatusCreated, viewDocument(row))
}

func (a *api) readDocument(w http.ResponseWriter, r *http.Request) error {
	row, err := a.document(r, "documents.read.owner", true)
	if err != nil {
		return err
	}
	if done, err := rest.Match(w, r, rest.Tag(row.Version), false); done || err != nil {
		return err
	}
	w.Header().Set("ETag", rest.Tag(row.Version))
	return rest.WriteJSON(w, http.StatusOK, viewDocument(row))
}

func (a *api) replaceDocument(w http.ResponseWriter, r *http.Request) error {
	row, err := a.document(r, "documents.write.owner", a.skip.Skips("documents.share.write"))
	if err != nil {
		return err
	}
	var in documentInput
	if err := a.bodies.Read(w, r, a.documentBody, &in); err != nil {
		return err
	}
	row, err = a.documents.Update(row.ID, func(row *rest.Row[document]) error {
		if _, err := rest.Match(w, r, rest.Tag(row.Version), false); err != nil {
			return err
		}
		row.Value.Title, row.Value.Text, row.Value.Labels, row.Value.Changed = in.Title, in.Text, in.Labels, a.Now()
		return nil
	})
	if err != nil {
		return err
	}
	w.Header().Set("ETag", rest.Tag(row.Version))
	return rest.WriteJSON(w, http.StatusOK, viewDocument(row))
}

func (a *api) deleteDocument(w http.ResponseWriter, r *http.Request) error {
	row, err := a.document(r, "documents.remove.owner", false)
	if err != nil {
		return err
	}
	if err := a.documents.Delete(row.ID, nil); err != nil {
		return err
	}
	return rest.Empty(w)
}

func (a *api) listShares(w http.ResponseWriter, r *http.Request) error {
	row, err := a.document(r, "shares.list", false)
	if err != nil {
		return err
	}
	out := list[string]{[]string{}}
	out.Items = append(out.Items, row.Value.Shared...)
	return rest.WriteJSON(w, http.StatusOK, out)
}

func (a *api) share(w http.ResponseWriter, r *http.Request) error {
	return a.changeShares(w, r, "shares.add", func(shared []string, name string) ([]string, error) {
		if _, known := a.users.Get(name); !known && !a.skip.Skips("shares.user") {
			return nil, rest.Fail(http.StatusNotFound, "no such user")
		}
		if slices.Contains(shared, name) {
			return shared, nil
		}
		shared = append(slices.Clone(shared), name)
		slices.Sort(shared)
		return shared, nil
	})
}

func (a *api) unshare(w http.ResponseWriter, r *http.Request) error {
	return a.changeShares(w, r, "shares.remove", func(shared []string, name string) ([]string, error) {
		if !slices.Contains(shared, name) {
			return nil, rest.Fail(http.StatusNotFound, "not shared with this user")
		}
		if a.skip.Skips("shares.revoke") {
			return shared, nil
		}
		return slices.DeleteFunc(slices.Clone(shared), func(x string) bool { return x == name }), nil
	})
}

func (a *api) changeShares(w http.ResponseWriter, r *http.Request, check string, change func([]string, string) ([]string, error)) error {
	row, err := a.document(r, check, false)
	if err != nil {
		return err
	}
	name, err := userName(r)
	if err != nil {
		return err
	}
	_, err = a.documents.Update(row.ID, func(row *rest.Row[document]) error {
		shared, err := change(row.Value.Shared, name)
		if err == nil {
			row.Value.Shared = shared
		}
		return err
	})
	if err != nil {
		return err
	}
	return rest.Empty(w)
}
