package account_test

import (
	"strings"
	"testing"

	"sallyport.dev/console/account"
)

func TestCheckPassword(t *testing.T) {
	for _, c := range []struct {
		name, password string
		good           bool
	}{
		{"anna", "plum kayak orbit fern", true},
		{"anna", "tG7#vq9!Lm2x", true},
		{"anna", "пароль-из-слов-кота", true},
		{"anna", "a quiet river runs north", true},
		{"anna", "Sommerregen auf Dächern", true},
		{"anna", "horse teeth are kept nearby", true}, // holds guessed words, and enough else
		{"anna", "tiny", false},
		{"anna", "elevenchars", false},
		{"anna", "password1234", false},
		{"anna", "P@ssw0rd!2345", false},
		{"anna", "Administrator1", false},
		{"anna", "sallyportsallyport", false},
		{"anna", "aaaaaaaaaaaaaaaa", false},
		{"anna", "abcabcabcabcabc", false},
		{"anna", "123456789012345", false},
		{"anna", "qwertyuiopasdfghjkl", false},
		{"anna", "correcthorsebatterystaple", false},
		{"anna.kowalska", "annakowalska123", false},
		{"kowalska@harbour.example", "Kowalska-harbour1", false},
		{"anna", "zyxwvutsrqponm", false},
		{"anna", "Welcome2Company!", false},
		{"anna", strings.Repeat("plum kayak ", 20), false}, // too long
		{"anna", "plum kayak orbit \xff", false},
	} {
		err := account.CheckPassword(c.name, c.password)
		if (err == nil) != c.good {
			t.Errorf("CheckPassword(%q, %q) = %v, want good %v", c.name, c.password, err, c.good)
		}
		if err != nil && strings.Contains(err.Error(), c.password) {
			t.Errorf("CheckPassword(%q, …) repeats the password: %v", c.name, err)
		}
	}
}

func FuzzCheckPassword(f *testing.F) {
	f.Add("anna", "plum kayak orbit fern")
	f.Add("", "\xff\x00aaa")
	f.Add("a.b", "321cba@@@")
	f.Fuzz(func(t *testing.T, name, password string) {
		if account.CheckPassword(name, password) == nil && len([]rune(password)) < account.MinPassword {
			t.Errorf("%q is short and passes", password)
		}
	})
}
