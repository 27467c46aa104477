package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"symkeep/internal/catalog"
)

// TestRunChild: a validator that ends badly is told from one that found nothing,
// and costs bounded time and memory.
func TestRunChild(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mood  string
		limit time.Duration
		died  bool
		want  string // part of the error; empty: none
	}{
		{"fine", time.Minute, false, ""},
		{"exit", time.Minute, true, "no mood for this"},
		{"kill", time.Minute, true, "killed"},
		{"silent", time.Minute, true, "EOF"},
		{"chatter", time.Minute, true, "more than 1 reports"},
		{"hungry", time.Minute, true, "bytes of memory"},
		{"hang", 300 * time.Millisecond, true, "no answer after 300ms"},
		{"orphan", 300 * time.Millisecond, true, "no answer after 300ms"},
		{"lost", time.Minute, false, "no such file"},
	} {
		t.Run(tt.mood, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "mood")
			if err := os.WriteFile(file, []byte(tt.mood), 0o600); err != nil {
				t.Fatal(err)
			}
			var files []childFile
			if tt.mood != "fine" { // an empty list is all the real one can check here
				files = append(files, childFile{Path: "a.sym", Size: 1, Packed: filepath.Join(dir, "none")})
			}
			begun := time.Now()
			_, err := runChild(t.Context(), child{[]string{exe, moodyCommand, file}, 256 << 20, tt.limit, nil}, files, catalog.Policy{})
			if took := time.Since(begun); took > 15*time.Second {
				t.Errorf("runChild took %s", took)
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("runChild of one that is %s = %v, want an error about %q", tt.mood, err, tt.want)
			}
			if errors.Is(err, errChildDied) != tt.died {
				t.Errorf("runChild of one that is %s: died %t, want %t (%v)", tt.mood, !tt.died, tt.died, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := runChild(ctx, child{[]string{exe, moodyCommand, "none"}, 1 << 30, time.Minute, nil}, nil, catalog.Policy{}); !errors.Is(err, context.Canceled) || errors.Is(err, errChildDied) {
		t.Errorf("runChild with its context ended = %v, want that and no death", err)
	}
	if _, err := runChild(t.Context(), child{nil, 1 << 30, time.Minute, nil}, nil, catalog.Policy{}); err == nil || errors.Is(err, errChildDied) {
		t.Errorf("runChild without a command = %v, want an error that is no death", err)
	}
}
