package notify_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"symkeep/internal/notify"
)

func TestParseURL(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		err      error
	}{
		{"smtp://mail.example", "smtp://mail.example:25", nil},
		{"smtp://bot@mail.example", "smtp://bot@mail.example:587", nil},
		{"smtps://bot@mail.example", "smtps://bot@mail.example:465", nil},
		{"smtp://bot%40corp@mail.example:2525/", "smtp://bot%40corp@mail.example:2525", nil},
		{"smtps://[::1]:465?insecure-tls=1", "smtps://[::1]:465?insecure-tls=1", nil},
		{"smtp://h?ca=/etc/ca.pem", "smtp://h:25?ca=%2Fetc%2Fca.pem", nil},
		{"", "", notify.ErrBadURL},
		{"mail.example:25", "", notify.ErrBadURL},
		{"http://mail.example", "", notify.ErrBadURL},
		{"smtp://", "", notify.ErrBadURL},
		{"smtp://h:0", "", notify.ErrBadURL},
		{"smtp://h:70000", "", notify.ErrBadURL},
		{"smtp://h/path", "", notify.ErrBadURL},
		{"smtp://h?tls=off", "", notify.ErrBadURL},
		{"smtp://h?insecure-tls=yes", "", notify.ErrBadURL},
		{"smtp://h?insecure-tls=1&ca=f", "", notify.ErrBadURL},
		{"smtp://a%0d%0ab@h", "", notify.ErrBadURL},
		{"smtp://bot:hunter2@h", "", notify.ErrBadURL},
		{"smtp://bot:hunter2@h:x%zz", "", notify.ErrBadURL},
	} {
		r, err := notify.ParseURL(tt.in)
		if !errors.Is(err, tt.err) {
			t.Errorf("ParseURL(%q) error = %v, want %v", tt.in, err, tt.err)
			continue
		}
		if err == nil && r.String() != tt.want {
			t.Errorf("ParseURL(%q) = %s, want %s", tt.in, r, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("ParseURL(%q) error = %v, shows the password", tt.in, err)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	pw := write("pw", "hunter2\n")
	for _, tt := range []struct {
		name, url, file string
		bad             string // part of the error
	}{
		{"none", "smtp://h", "", ""},
		{"user and password", "smtp://bot@h", pw, ""},
		{"user alone", "smtp://bot@h", "", "--smtp-password-file"},
		{"password alone", "smtp://h", pw, "without a user"},
		{"two lines", "smtp://bot@h", write("two", "a\nb\n"), "more than one line"},
		{"empty", "smtp://bot@h", write("empty", "\n"), "empty"},
		{"no file", "smtp://bot@h", filepath.Join(dir, "none"), "no such file"},
		{"no ca", "smtp://h?ca=" + filepath.Join(dir, "none"), "", "no such file"},
		{"ca is no certificate", "smtp://h?ca=" + pw, "", "no certificate"},
	} {
		r, err := notify.ParseURL(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		err = r.Load(tt.file)
		if (err == nil) != (tt.bad == "") || err != nil && !strings.Contains(err.Error(), tt.bad) {
			t.Errorf("%s: Load error = %v, want one with %q", tt.name, err, tt.bad)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: Load error shows the password: %v", tt.name, err)
		}
	}
}

func TestRelayNeverShowsPassword(t *testing.T) {
	pw := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(pw, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := notify.ParseURL("smtp://bot@h")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Load(pw); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "relay", r)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "relay", r, "struct", struct{ R *notify.Relay }{r})
	hidden := struct{ r *notify.Relay }{r}
	all := log.String() + fmt.Sprintf("%v %+v %#v %s %v %+v %#v %v %+v %#v", r, r, r, r, *r, *r, *r, hidden, hidden, hidden)
	if strings.Contains(all, "hunter2") {
		t.Errorf("the password shows in %s", all)
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("smtp://bot@h:25?ca=x")
	f.Add("smtps://[::1]")
	f.Add("smtp://::::")
	f.Fuzz(func(t *testing.T, in string) {
		r, err := notify.ParseURL(in)
		if err != nil {
			return
		}
		again, err := notify.ParseURL(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("ParseURL(%q) = %v, %v, want %v", r.String(), again, err, r)
		}
	})
}
