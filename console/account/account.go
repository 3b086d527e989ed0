// Package account keeps the people who may use the console, and their
// sessions. In come names, passwords, invitations and cookies; out go accounts
// with a role.
//
// Passwords are kept as Argon2id hashes, invitations and session cookies as
// SHA-256 hashes; none of the three can be read back. A failed sign-in says the
// same and takes the same time whether the name exists, the account is disabled
// or the password is wrong. Attempts are spaced per account and per client.
//
// The package never writes a password, an invitation or a cookie to a log, and
// never leaves the console without an enabled administrator.
package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"

	"sallyport.dev"
)

// Role is what an account may do.
type Role string

// The roles. A viewer sees traffic and inventory; an administrator also sees
// and manages people, sessions and the audit log.
const (
	Admin  Role = "admin"
	Viewer Role = "viewer"
)

// An Account is one person. Times are microseconds since 1970, 0 = never.
type Account struct {
	bun.BaseModel `bun:"table:console_account"`

	ID       string `bun:"id,pk"`
	Name     string `bun:"name"`
	Role     Role   `bun:"role"`
	Hash     string `bun:"hash"` // "" until the invitation was taken
	Created  int64  `bun:"created"`
	Changed  int64  `bun:"changed"`
	SignedIn int64  `bun:"signed_in"`
	Disabled int64  `bun:"disabled"`

	Invited int64 `bun:"invited,scanonly"` // until when its invitation is good; filled by List
}

type invitation struct {
	bun.BaseModel `bun:"table:console_invitation"`

	Account string `bun:"account,pk"`
	Hash    []byte `bun:"hash"`
	Expires int64  `bun:"expires"`
}

// InvitationAge is how long a setup link or an invitation is good for.
const InvitationAge = time.Hour

// Failed is the one answer to a sign-in that does not succeed.
var Failed = sallyport.Errorf(sallyport.Unauthenticated, "the name or the password is wrong")

// Void is the one answer to an invitation that does not count.
var Void = sallyport.Errorf(sallyport.Forbidden, "this link is not good: it was used, replaced by a newer one, or is older than an hour")

// A Book is the accounts of one database. It is safe for concurrent use.
type Book struct {
	write, read *bun.DB
	now         func() time.Time
	hasher      *hasher
	byAccount   *throttle
	byClient    *throttle
}

// Open makes a Book over the migrated tables. A password hash takes memory KiB,
// 64 MiB for zero; hashes that are kept are verified as they were made.
func Open(write, read *bun.DB, now func() time.Time, memory uint32) *Book {
	return &Book{
		write: write, read: read, now: now, hasher: newHasher(memory),
		byAccount: newThrottle(10, 30*time.Second), // failures of one account
		byClient:  newThrottle(20, 6*time.Second),  // attempts from one address
	}
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._@+-]{1,63}$`)

// CheckName says what is wrong with the name of an account.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return sallyport.Errorf(sallyport.Invalid, "the name must have 2 to 64 characters: a-z, 0-9 and . _ @ + -, beginning with a letter or a digit")
	}
	return nil
}

func clean(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// Limited says that an attempt came too early.
type Limited struct {
	Wait  time.Duration
	Fresh bool // the first refusal since the last attempt that counted
}

func (e *Limited) Error() string { return "too many attempts" }

// Unwrap gives sallyport.Limited to errors.Is.
func (e *Limited) Unwrap() error { return sallyport.Limited }

// SignIn gives the account whose name and password these are. Errors: Failed,
// *Limited. known is the account that was named, if there is one, also when
// the sign-in fails: for the audit log, never for the caller.
func (b *Book) SignIn(ctx context.Context, name, password string, client netip.Addr) (a *Account, known *Account, err error) {
	name = clean(name)
	now := b.now()
	if wait, fresh := b.byClient.take(network(client), now); wait > 0 {
		return nil, nil, &Limited{wait, fresh}
	}
	key := fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
	if wait, fresh := b.byAccount.take(key, now); wait > 0 {
		return nil, nil, &Limited{wait, fresh}
	}
	known, err = b.byName(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	phc := b.hasher.absent
	if known != nil && known.Hash != "" {
		phc = known.Hash
	}
	match, err := b.hasher.verify(ctx, password, phc)
	if err != nil {
		return nil, known, fmt.Errorf("sign in: %w", err)
	}
	if !match || known == nil || known.Hash == "" || known.Disabled != 0 {
		return nil, known, Failed
	}
	b.byAccount.forget(key)
	b.byClient.forget(network(client))
	known.SignedIn = now.UnixMicro()
	if _, err := b.write.NewUpdate().Model(known).Column("signed_in").WherePK().Exec(ctx); err != nil {
		return nil, known, fmt.Errorf("sign in: %w", err)
	}
	return known, known, nil
}

func (b *Book) byName(ctx context.Context, name string) (*Account, error) {
	return one(ctx, b.read.NewSelect().Where("name = ?", name))
}

// ByID gives an account, or sallyport.NotFound.
func (b *Book) ByID(ctx context.Context, id string) (*Account, error) {
	a, err := one(ctx, b.read.NewSelect().Where("id = ?", id))
	if err == nil && a == nil {
		return nil, sallyport.Errorf(sallyport.NotFound, "no such account")
	}
	return a, err
}

func one(ctx context.Context, q *bun.SelectQuery) (*Account, error) {
	a := new(Account)
	if err := q.Model(a).Scan(ctx); errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read account: %w", err)
	}
	return a, nil
}

// List gives all accounts by name.
func (b *Book) List(ctx context.Context) ([]Account, error) {
	accounts := []Account{}
	err := b.read.NewSelect().Model(&accounts).ColumnExpr("account.*").
		ColumnExpr("COALESCE((SELECT i.expires FROM console_invitation AS i WHERE i.account = account.id), 0) AS invited").
		OrderExpr("name").Limit(1000).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return accounts, nil
}

// Needed reports whether no administrator exists yet.
func (b *Book) Needed(ctx context.Context) (bool, error) {
	n, err := b.read.NewSelect().Model((*Account)(nil)).Where("role = ? AND hash <> ''", Admin).Count(ctx)
	if err != nil {
		return false, fmt.Errorf("count administrators: %w", err)
	}
	return n == 0, nil
}

// Setup makes the token with which the first administrator is made, and voids
// the one before. "" = an administrator exists.
func (b *Book) Setup(ctx context.Context) (token string, err error) {
	need, err := b.Needed(ctx)
	if err != nil || !need {
		return "", err
	}
	token, _, err = b.invite(ctx, b.write, "")
	return token, err
}

func (b *Book) invite(ctx context.Context, db bun.IDB, account string) (token string, until time.Time, err error) {
	var raw [32]byte
	rand.Read(raw[:])
	token = base64.RawURLEncoding.EncodeToString(raw[:])
	sum := sha256.Sum256([]byte(token))
	until = b.now().Add(InvitationAge)
	_, err = db.NewInsert().Model(&invitation{Account: account, Hash: sum[:], Expires: until.UnixMicro()}).
		On("CONFLICT (account) DO UPDATE").Set("hash = EXCLUDED.hash, expires = EXCLUDED.expires").Exec(ctx)
	if err != nil {
		return "", until, fmt.Errorf("make invitation: %w", err)
	}
	return token, until, nil
}

// Invitee is the name that an invitation is for: "" for the first
// administrator, who chooses one. Void when the token does not count.
func (b *Book) Invitee(ctx context.Context, token string, client netip.Addr) (name string, err error) {
	if wait, fresh := b.byClient.take(network(client), b.now()); wait > 0 {
		return "", &Limited{wait, fresh}
	}
	i, err := b.find(ctx, token)
	if err != nil || i.Account == "" {
		return "", err
	}
	a, err := b.ByID(ctx, i.Account)
	if err != nil {
		return "", err
	}
	return a.Name, nil
}

func (b *Book) find(ctx context.Context, token string) (*invitation, error) {
	sum := sha256.Sum256([]byte(token))
	var all []invitation
	if err := b.read.NewSelect().Model(&all).Where("expires > ?", b.now().UnixMicro()).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read invitations: %w", err)
	}
	var found *invitation
	for i := range all {
		if subtle.ConstantTimeCompare(all[i].Hash, sum[:]) == 1 {
			found = &all[i]
		}
	}
	if found == nil {
		return nil, Void
	}
	return found, nil
}

// Redeem takes an invitation: it gives the account a password, and for the
// setup link makes the first administrator, called name. The link is void
// afterwards. Errors: Void, *Limited, sallyport.Invalid.
func (b *Book) Redeem(ctx context.Context, token, name, password string, client netip.Addr) (*Account, error) {
	if wait, fresh := b.byClient.take(network(client), b.now()); wait > 0 {
		return nil, &Limited{wait, fresh}
	}
	i, err := b.find(ctx, token)
	if err != nil {
		return nil, err
	}
	now := b.now().UnixMicro()
	var a *Account
	if i.Account == "" {
		a = &Account{ID: rand.Text(), Name: clean(name), Role: Admin, Created: now}
	} else if a, err = b.ByID(ctx, i.Account); err != nil {
		return nil, err
	}
	if err := CheckName(a.Name); err != nil {
		return nil, err
	}
	if err := CheckPassword(a.Name, password); err != nil {
		return nil, err
	}
	if a.Hash, err = b.hasher.hash(ctx, password); err != nil {
		return nil, err
	}
	a.Changed, a.SignedIn = now, now
	err = b.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		// Deleting it is what makes it single: of two at once one deletes.
		r, err := tx.NewDelete().Model(i).Where("account = ? AND hash = ? AND expires > ?", i.Account, i.Hash, now).Exec(ctx)
		if err != nil {
			return err
		}
		if n, _ := r.RowsAffected(); n != 1 {
			return Void
		}
		if i.Account != "" {
			if _, err := tx.NewUpdate().Model(a).Column("hash", "changed", "signed_in").WherePK().Exec(ctx); err != nil {
				return err
			}
			_, err = tx.NewDelete().Model((*session)(nil)).Where("account = ?", a.ID).Exec(ctx)
			return err
		}
		if n, err := tx.NewSelect().Model((*Account)(nil)).Where("role = ? AND hash <> ''", Admin).Count(ctx); err != nil {
			return err
		} else if n > 0 {
			return Void
		}
		_, err = tx.NewInsert().Model(a).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, named(err, "take invitation")
	}
	return a, nil
}

// Add makes an account without a password and the invitation to set one.
func (b *Book) Add(ctx context.Context, name string, role Role) (a *Account, token string, until time.Time, err error) {
	a = &Account{ID: rand.Text(), Name: clean(name), Role: role, Created: b.now().UnixMicro()}
	if err := CheckName(a.Name); err != nil {
		return nil, "", until, err
	}
	err = b.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		r, err := tx.NewInsert().Model(a).On("CONFLICT (name) DO NOTHING").Exec(ctx)
		if err != nil {
			return err
		}
		if n, _ := r.RowsAffected(); n != 1 {
			return sallyport.Errorf(sallyport.Conflict, "an account of that name exists")
		}
		token, until, err = b.invite(ctx, tx, a.ID)
		return err
	})
	if err != nil {
		return nil, "", until, named(err, "add account")
	}
	return a, token, until, nil
}

// Invite makes a new invitation for an account, voiding the one before: for
// one that was not taken in time, or a password that was forgotten. The old
// password stays good until the invitation is taken.
func (b *Book) Invite(ctx context.Context, id string) (a *Account, token string, until time.Time, err error) {
	if a, err = b.ByID(ctx, id); err != nil {
		return nil, "", until, err
	}
	if a.Disabled != 0 {
		return nil, "", until, sallyport.Errorf(sallyport.Conflict, "the account is disabled: enable it first")
	}
	token, until, err = b.invite(ctx, b.write, a.ID)
	return a, token, until, err
}

// Change sets role and whether the account is disabled; nil leaves either as
// it is. Disabling ends its sessions and voids its invitation. The last
// enabled administrator cannot be disabled or made a viewer.
func (b *Book) Change(ctx context.Context, id string, role *Role, disabled *bool) (*Account, error) {
	a := new(Account)
	err := b.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		var admins []Account
		q := tx.NewSelect().Model(&admins).Where("role = ? AND disabled = 0 AND hash <> ''", Admin)
		if tx.Dialect().Name() == dialect.PG {
			q = q.For("UPDATE") // two administrators who disable each other
		}
		if err := q.Scan(ctx); err != nil {
			return err
		}
		if err := tx.NewSelect().Model(a).Where("id = ?", id).Scan(ctx); errors.Is(err, sql.ErrNoRows) {
			return sallyport.Errorf(sallyport.NotFound, "no such account")
		} else if err != nil {
			return err
		}
		if role != nil {
			a.Role = *role
		}
		if disabled != nil {
			a.Disabled = 0
			if *disabled {
				a.Disabled = b.now().UnixMicro()
			}
		}
		if len(admins) == 1 && admins[0].ID == a.ID && (a.Role != Admin || a.Disabled != 0) {
			return sallyport.Errorf(sallyport.Conflict, "this is the last administrator: make another one first")
		}
		if _, err := tx.NewUpdate().Model(a).Column("role", "disabled").WherePK().Exec(ctx); err != nil {
			return err
		}
		if a.Disabled == 0 {
			return nil
		}
		if _, err := tx.NewDelete().Model((*session)(nil)).Where("account = ?", a.ID).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*invitation)(nil)).Where("account = ?", a.ID).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, named(err, "change account")
	}
	return a, nil
}

// SetPassword changes the account's own password and ends its other sessions.
// Errors: Failed when current is wrong, *Limited, sallyport.Invalid.
func (b *Book) SetPassword(ctx context.Context, id, current, next string, keep string) error {
	a, err := b.ByID(ctx, id)
	if err != nil {
		return err
	}
	key := "change " + id
	if wait, fresh := b.byAccount.take(key, b.now()); wait > 0 {
		return &Limited{wait, fresh}
	}
	match, err := b.hasher.verify(ctx, current, a.Hash)
	if err != nil {
		return fmt.Errorf("change password: %w", err)
	}
	if !match {
		return sallyport.Errorf(sallyport.Forbidden, "the current password is wrong")
	}
	b.byAccount.forget(key)
	if current == next {
		return sallyport.Errorf(sallyport.Invalid, "the new password is the old one")
	}
	if err := CheckPassword(a.Name, next); err != nil {
		return err
	}
	if a.Hash, err = b.hasher.hash(ctx, next); err != nil {
		return err
	}
	a.Changed = b.now().UnixMicro()
	err = b.write.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewUpdate().Model(a).Column("hash", "changed").WherePK().Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewDelete().Model((*session)(nil)).Where("account = ? AND token <> ?", a.ID, keep).Exec(ctx)
		return err
	})
	return named(err, "change password")
}

// named wraps err unless it is already meant for a caller.
func named(err error, doing string) error {
	var e *sallyport.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("%s: %w", doing, err)
}
