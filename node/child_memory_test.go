package node

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/validate"
)

// TestRemembered: a file that was validated before under its path is not read again,
// neither in this process nor after a restart, and its report is the same. Under
// another path it is.
func TestRemembered(t *testing.T) {
	t.Parallel()
	n := startCluster(t, 1)[0]
	large, small := breakpad(1, validate.MinRemembered), breakpad(2, 100)
	id := n.push("remembered", large, small)
	want, err := n.fsm.File(id, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.known.Get(small.digest(), small.path); got != nil {
		t.Errorf("%d bytes are remembered of a file of %d bytes", len(got), len(small.bytes))
	}
	n.halt()
	n.start()
	entry := n.known.Get(large.digest(), large.path)
	if entry == nil {
		t.Fatal("nothing is remembered of a large file")
	}
	ask := childFile{Path: large.path, Size: int64(len(large.bytes)), SHA256: large.digest(), Packed: "nowhere", Known: entry}
	got, err := askChild(t, ask)
	if err != nil || !reflect.DeepEqual(got.Keys[0].Key, want.Keys[0]) || got.Kind != want.Kind || !reflect.DeepEqual(got.IDs, want.IDs) {
		t.Errorf("report of a file that is not there any more = %+v, %v, want that of %+v", got, err, want)
	}
	ask.Path = "elsewhere/" + large.path
	if got, err := askChild(t, ask); err == nil {
		t.Errorf("report of a file that is known under another path only = %+v, want that it was looked for", got)
	}
	n.push("again", large, small)
}

// askChild validates one file in this process, as a child does.
func askChild(t *testing.T, f childFile) (catalog.FileReport, error) {
	t.Helper()
	in, tell := io.Pipe()
	defer tell.Close()
	go tellChild(tell, []childFile{f}, catalog.Policy{})
	var out bytes.Buffer
	if err := ValidateChild(t.Context(), in, &out); err != nil {
		return catalog.FileReport{}, err
	}
	var l childLine
	if err := json.NewDecoder(&out).Decode(&l); err != nil || l.File == nil {
		t.Fatalf("answer %s: %v", out.String(), err)
	}
	return *l.File, nil
}
