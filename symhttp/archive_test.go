package symhttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// putArchive sends body under a name as it stands in the URL.
func putArchive(t *testing.T, addr, name string, body io.Reader, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), "PUT", "http://"+addr+"/api/v1/packages/"+string(packageID)+"/archives/"+name, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAddArchive(t *testing.T) {
	w := newWorld(t)
	addr := start(t, testConfig(), w.public(t))
	content := noise(3<<20+5, 4)
	for _, expect := range []string{"", "100-continue"} {
		status, body := putArchive(t, addr, "app%20x64.zip", bytes.NewReader(content), "Expect", expect)
		var r api.ArchiveResponse
		if err := json.Unmarshal([]byte(body), &r); err != nil || status != http.StatusOK || r.Files != 3 || r.Added != 2 || r.Ignored != 1 {
			t.Errorf("PUT = %d %s, want 200 and the answer", status, body)
		}
		if want := "archive " + string(packageID) + " app x64.zip of 3145733"; w.last() != want || !bytes.Equal(w.uploaded.Bytes(), content) {
			t.Errorf("call = %q with %d bytes, want %q with all", w.last(), w.uploaded.Len(), want)
		}
	}
}

func TestAddArchiveRefusals(t *testing.T) {
	w := newWorld(t)
	addr := start(t, testConfig(), w.public(t))
	chunked := struct{ io.Reader }{strings.NewReader("zip")} // of unknown length
	for _, tt := range []struct {
		name string
		body io.Reader
		want int
	}{
		{"a.zip", chunked, http.StatusLengthRequired},
		{"a.zip", http.NoBody, http.StatusBadRequest},
		{"..%2Fa.zip", strings.NewReader("zip"), http.StatusBadRequest},
	} {
		if status, body := putArchive(t, addr, tt.name, tt.body); status != tt.want || !strings.Contains(body, `"message"`) {
			t.Errorf("PUT %s = %d %s, want %d with a text", tt.name, status, body, tt.want)
		}
	}
	for err, want := range map[error]int{catalog.ErrFull: http.StatusInsufficientStorage, catalog.ErrInvalid: http.StatusBadRequest, catalog.ErrConflict: http.StatusConflict} {
		w.callErr = err
		if status, _ := putArchive(t, addr, "a.zip", strings.NewReader("zip")); status != want {
			t.Errorf("PUT after %v = %d, want %d", err, status, want)
		}
		w.callErr, w.stateErr = nil, err
		if status, _ := putArchive(t, addr, "a.zip", strings.NewReader("zip"), "Expect", "100-continue"); status != want || strings.HasPrefix(w.last(), "archive "+string(packageID)) {
			t.Errorf("PUT that expects %v = %d, last call %q; want %d before the body", err, status, w.last(), want)
		}
		w.stateErr = nil
	}
}
