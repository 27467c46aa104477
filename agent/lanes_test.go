package agent_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"symkeep/agent"
	"symkeep/agent/agenttest"
	"symkeep/internal/catalog"
)

// TestLanes holds uploads back until as many have come as are to be sent at once, and a
// moment longer, in which no more may come: 16 small files where 4 large ones are.
func TestLanes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		size    int
		files   int
		uploads int
		want    int
	}{
		{"small", 100, 20, 4, 16},
		{"large", 300 << 10, 8, 4, 4},
		{"large, not a divisor", 300 << 10, 12, 6, 6},
		{"small, as many as asked for", 100, 24, 20, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := map[string]string{}
			for i := range tt.files {
				files[fmt.Sprintf("f%d.sym", i)] = string(sym("f", byte(i+1), tt.size))
			}
			c := agenttest.New(t, 1)
			var mu sync.Mutex
			come, open := 0, make(chan struct{})
			c.Intercept = func(_ *agenttest.Node, _ http.ResponseWriter, r *http.Request) bool {
				if r.Method != "PUT" {
					return false
				}
				mu.Lock()
				if come++; come == tt.want {
					time.AfterFunc(200*time.Millisecond, func() { close(open) })
				}
				if come > tt.want && !isClosed(open) {
					t.Errorf("upload %d comes while %d are under way, want those at once", come, tt.want)
				}
				mu.Unlock()
				select {
				case <-open:
				case <-r.Context().Done():
				}
				return false
			}
			cfg := config(tree(t, files))
			cfg.Uploads = tt.uploads
			r, err := agent.Push(t.Context(), cfg, dial(t, c.URLs()...), &events{})
			if err != nil || r.Verdict != catalog.Good {
				t.Errorf("Push = %s, %v, want good after %d uploads at once; %d came", r.Verdict, err, tt.want, come)
			}
			if come != tt.files {
				t.Errorf("%d uploads, want %d", come, tt.files)
			}
		})
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
