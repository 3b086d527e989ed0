package store

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// KeySize is the length of the master key in bytes.
const KeySize = 32

// checkFile holds a value that only the master key can make; it tells a wrong
// key from a damaged file before anything is opened.
const checkFile = "key.check"

// LoadKey reads the master key that ref names: "env:NAME" or "file:PATH", each
// holding 64 hexadecimal digits or the base64 of 32 bytes. A file that does not
// exist is made with a new random key and mode 0600, unless dir already holds
// data that needs the old one. A file inside dir, or one that others than its
// owner may read, is refused: a stolen data directory must not hold its own key.
func LoadKey(ref, dir string) ([]byte, error) {
	scheme, name, ok := strings.Cut(ref, ":")
	switch {
	case ok && scheme == "env" && name != "":
		text, found := os.LookupEnv(name)
		if !found {
			return nil, fmt.Errorf("load key: environment variable %s is not set", name)
		}
		key, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("load key from environment variable %s: %w", name, err)
		}
		return key, nil
	case ok && scheme == "file" && name != "":
		key, err := fileKey(name, dir)
		if err != nil {
			return nil, fmt.Errorf("load key: %w", err)
		}
		return key, nil
	}
	return nil, errors.New("load key: a key is named as file:PATH or env:NAME")
}

func fileKey(path, dir string) ([]byte, error) {
	inside, err := within(path, dir)
	if err != nil {
		return nil, err
	}
	if inside {
		return nil, fmt.Errorf("key file %s lies inside the data directory %s: move it elsewhere, a copy of the data must not hold its own key", path, dir)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newFileKey(path, dir)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("key file %s has mode %04o: others than its owner may reach it; chmod 600 it, and change the key if it may have been read", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return key, nil
}

func newFileKey(path, dir string) ([]byte, error) {
	if _, err := os.Stat(filepath.Join(dir, checkFile)); err == nil {
		return nil, fmt.Errorf("key file %s is missing, and %s was written with the key it held: restore the file; a new key would not open the data", path, dir)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make directory of key file: %w", err)
	}
	key := make([]byte, KeySize)
	rand.Read(key)
	if err := writeWhole(path, []byte(hex.EncodeToString(key)+"\n")); err != nil {
		return nil, fmt.Errorf("write new key file: %w", err)
	}
	return key, nil
}

func parseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(text); err == nil && len(key) == KeySize {
			return key, nil
		}
	}
	return nil, fmt.Errorf("not a key: %d bytes are wanted, as 64 hexadecimal digits or in base64", KeySize)
}

// within reports whether path lies in dir once symbolic links are followed.
func within(path, dir string) (bool, error) {
	if dir == "" {
		return false, nil
	}
	p, err := resolve(path)
	if err != nil {
		return false, err
	}
	d, err := resolve(dir)
	if err != nil {
		return false, err
	}
	rel, err := filepath.Rel(d, p)
	if err != nil {
		return false, nil
	}
	return rel == "." || rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)), nil
}

// resolve follows the symbolic links of as much of path as exists.
func resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for rest := ""; ; {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return "", err
		}
		rest = filepath.Join(filepath.Base(path), rest)
		path = filepath.Dir(path)
	}
}

// subkey derives the key for one purpose; from it the master key, and the keys
// of other purposes, cannot be found (RFC 5869).
func subkey(master []byte, purpose string, size int) ([]byte, error) {
	return hkdf.Key(sha256.New, master, nil, "sallyport store "+purpose, size)
}

// checkKey compares the master key with the one dir was written with and, in a
// new directory, leaves the value to compare with.
func checkKey(dir string, master []byte) error {
	sum, err := subkey(master, "check", 32)
	if err != nil {
		return err
	}
	want := "1 " + hex.EncodeToString(sum) + "\n"
	path := filepath.Join(dir, checkFile)
	have, err := os.ReadFile(path)
	switch {
	case err == nil:
		if subtle.ConstantTimeCompare(have, []byte(want)) == 1 {
			return nil
		}
		return &WrongKeyError{Dir: dir}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read %s: %w", path, err)
	}
	for _, data := range []string{databaseFile, streamDir} {
		if _, err := os.Stat(filepath.Join(dir, data)); err == nil {
			return fmt.Errorf("%s holds %s but not %s, which tells whether a key is the right one: restore that file from a backup of the directory (nothing was changed)", dir, data, checkFile)
		}
	}
	if err := writeWhole(path, []byte(want)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// writeWhole makes a file that did not exist, whole or not at all, and on disk
// before anything is encrypted with what it says.
func writeWhole(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Link, not rename: two first starts at once must agree on one content.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return nil
}
