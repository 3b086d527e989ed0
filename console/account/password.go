package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"sallyport.dev"
)

// Cost of a password hash: Argon2id (RFC 9106) with the second recommended
// choice of its section 4, 64 MiB, three passes and four lanes.
const (
	hashMemory = 64 << 10 // KiB
	hashPasses = 3
	hashLanes  = 4
	hashSalt   = 16
	hashLength = 32
)

// Bounds of a password, in characters.
const (
	MinPassword = 12
	MaxPassword = 128
)

// hasher bounds how many hashes run at once, and so the memory that sign-ins
// can take.
type hasher struct {
	slots  chan struct{}
	memory uint32 // KiB, of hashes that are made
	absent string
}

func newHasher(memory uint32) *hasher {
	if memory == 0 {
		memory = hashMemory
	}
	return &hasher{slots: make(chan struct{}, 2), memory: memory, absent: noHash(memory)}
}

func (h *hasher) key(ctx context.Context, password string, salt []byte, memory, passes uint32, lanes uint8, length uint32) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, sallyport.Wrap(sallyport.Unavailable, ctx.Err(), "too many sign-ins at once")
	}
	defer func() { <-h.slots }()
	return argon2.IDKey([]byte(password), salt, passes, memory, lanes, length), nil
}

// hash makes the PHC string of password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, hashSalt)
	rand.Read(salt)
	sum, err := h.key(ctx, password, salt, h.memory, hashPasses, hashLanes, hashLength)
	if err != nil {
		return "", err
	}
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, hashPasses, hashLanes,
		enc.EncodeToString(salt), enc.EncodeToString(sum)), nil
}

// noHash is verified against when there is no account, so that the answer
// takes as long as for one that exists. No password has this hash.
func noHash(memory uint32) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, hashPasses, hashLanes,
		base64.RawStdEncoding.EncodeToString(make([]byte, hashSalt)), base64.RawStdEncoding.EncodeToString(make([]byte, hashLength)))
}

// verify reports whether password has the hash phc; the comparison takes the
// same time wherever they differ.
func (h *hasher) verify(ctx context.Context, password, phc string) (bool, error) {
	var version int
	var memory, passes uint32
	var lanes uint8
	part := strings.Split(phc, "$")
	if len(part) != 6 || part[1] != "argon2id" {
		return false, fmt.Errorf("password hash of an unknown kind")
	}
	if _, err := fmt.Sscanf(part[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false, fmt.Errorf("password hash of an unknown version")
	}
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); err != nil ||
		memory > 1<<20 || passes == 0 || passes > 64 || lanes == 0 {
		return false, fmt.Errorf("password hash with unknown parameters")
	}
	salt, err := base64.RawStdEncoding.DecodeString(part[4])
	if err != nil {
		return false, fmt.Errorf("password hash with a broken salt")
	}
	want, err := base64.RawStdEncoding.DecodeString(part[5])
	if err != nil || len(want) < 16 || len(want) > 64 {
		return false, fmt.Errorf("password hash with a broken sum")
	}
	got, err := h.key(ctx, password, salt, memory, passes, lanes, uint32(len(want)))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// guessed are words that guessing begins with; what is left of a password
// without them is what has to be guessed.
var guessed = []string{
	"sallyport", "password", "passwort", "passphrase", "passcode", "administrator", "letmein", "welcome", "qwertzuiop", "qwertyuiop", "qwerty", "qwertz", "azerty",
	"asdfghjkl", "asdfgh", "zxcvbnm", "yxcvbnm", "iloveyou", "monkey", "dragon", "football", "baseball", "basketball", "superman", "batman", "trustno", "sunshine",
	"princess", "master", "shadow", "michael", "jennifer", "jordan", "hunter", "secret", "security", "gateway", "console", "admin", "login", "access", "default",
	"changeme", "company", "summer", "winter", "spring", "autumn", "january", "february", "october", "november", "december", "correcthorsebatterystaple",
	"correct", "horse", "battery", "staple", "test", "user", "root", "guest", "pass", "love", "hello", "freedom", "whatever", "starwars", "computer", "internet",
}

// CheckPassword says why password would be guessed early for the account name;
// nil when it would not. Neither length nor guessing demands signs of
// particular classes.
func CheckPassword(name, password string) error {
	n := utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password):
		return sallyport.Errorf(sallyport.Invalid, "the password is not valid text")
	case n < MinPassword:
		return sallyport.Errorf(sallyport.Invalid, "the password is too short: %d characters or more; a few unrelated words are easy to keep in mind", MinPassword)
	case n > MaxPassword:
		return sallyport.Errorf(sallyport.Invalid, "the password is too long: at most %d characters", MaxPassword)
	}
	if left := unguessed(name, password); left < 7 {
		return sallyport.Errorf(sallyport.Invalid, "the password would be guessed early: it is mostly well-known words, the account's name, repetition or rows of keys")
	}
	return nil
}

// unguessed counts the characters of password that well-known words, the name,
// repetitions and ascending or descending runs do not explain; each explained
// stretch counts as one.
func unguessed(name, password string) int {
	plain := []rune(strings.Map(func(r rune) rune {
		if u, ok := map[rune]rune{'0': 'o', '1': 'i', '3': 'e', '4': 'a', '5': 's', '7': 't', '@': 'a', '$': 's', '!': 'i'}[r]; ok {
			return u
		}
		return unicode.ToLower(r)
	}, password))
	raw := []rune(strings.ToLower(password))
	words := append([]string{}, guessed...)
	for _, part := range strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if utf8.RuneCountInString(part) >= 3 {
			words = append(words, part)
		}
	}
	count := 0
	seen := map[string]bool{}
	for i := 0; i < len(plain); {
		skip := 0
		for _, w := range words {
			if l := utf8.RuneCountInString(w); l > skip && i+l <= len(plain) && (string(plain[i:i+l]) == w || string(raw[i:i+l]) == w) {
				skip = l
			}
		}
		if skip == 0 { // aaa, abc, 321
			for _, step := range []rune{0, 1, -1} {
				j := i + 1
				for j < len(raw) && raw[j]-raw[j-1] == step {
					j++
				}
				if j-i >= 3 {
					skip = max(skip, j-i)
				}
			}
		}
		if skip > 0 {
			if stretch := string(plain[i : i+skip]); !seen[stretch] {
				seen[stretch] = true
				count++
			}
			i += skip
			continue
		}
		// A piece of three that stood before is repetition.
		if i+3 <= len(raw) {
			piece := string(raw[i : i+3])
			if seen[piece] {
				i += 3
				continue
			}
			seen[piece] = true
		}
		count++
		i++
	}
	return count
}
