package ops_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"symkeep/ops"
)

func TestSpan(t *testing.T) {
	for _, tt := range []struct {
		in   time.Duration
		want string
	}{
		{0, "0ms"},
		{350 * time.Millisecond, "350ms"},
		{12*time.Second + 900*time.Millisecond, "12s"},
		{time.Minute, "1m"},
		{3*time.Minute + 10*time.Second, "3m10s"},
		{5*time.Hour + 2*time.Minute + 3*time.Second, "5h2m"},
		{76 * time.Hour, "3d4h"},
		{-90 * time.Second, "-1m30s"},
	} {
		if got := ops.Span(tt.in); got != tt.want {
			t.Errorf("span(%s) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestPlural(t *testing.T) {
	for _, tt := range []struct {
		n          int
		noun, want string
	}{{0, "blob", "0 blobs"}, {1, "copy", "1 copy"}, {2, "copy", "2 copies"}} {
		if got := ops.Plural(tt.n, tt.noun); got != tt.want {
			t.Errorf("plural(%d, %s) = %s, want %s", tt.n, tt.noun, got, tt.want)
		}
	}
}

func TestShort(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"v1.2.3", "v1.2.3"},
		{"v1.2.3-45-gabcdef0-dirty", "v1.2.3-..0-dirty"},
		{"äääääääääääääää", "äää?..?äää"},
	} {
		if got := ops.Short(tt.in, 16); got != tt.want || !utf8.ValidString(got) {
			t.Errorf("short(%q, 16) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// Texts of servers must neither break columns nor steer the terminal.
func TestTable(t *testing.T) {
	b := &strings.Builder{}
	if err := ops.Table(b, [][]string{{"NAME", "TEXT", ""}, {"a", "one\ntwo\tthree\x1b[2J", "end"}, {"long name", "x", ""}}); err != nil {
		t.Fatal(err)
	}
	want := "NAME       TEXT\n" +
		"a          one two three?[2J  end\n" +
		"long name  x\n"
	if b.String() != want {
		t.Errorf("table:\n%s\nwant\n%s", b, want)
	}
}

func TestWrapped(t *testing.T) {
	b := &strings.Builder{}
	if err := ops.Wrap(b, "plan: ", strings.Repeat("word ", 60)+"end\nof it"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i, line := range lines {
		if n := utf8.RuneCountInString(line); n > ops.LineWidth || i < len(lines)-1 && n < ops.LineWidth-5 {
			t.Errorf("line %d has %d characters, want at most %d and as many as fit: %q", i+1, n, ops.LineWidth, line)
		}
		if i > 0 && !strings.HasPrefix(line, "      w") {
			t.Errorf("line %d is not below the first: %q", i+1, line)
		}
	}
	if got := len(strings.Fields(b.String())); got != 64 || len(lines) != 3 {
		t.Errorf("%d words in %d lines, want 64 in 3", got, len(lines))
	}
}
