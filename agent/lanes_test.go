package agent_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"symkeep/agent"
	"symkeep/agent/agenttest"
	"symkeep/internal/catalog"
)

// TestLanes holds uploads back until as many have come as are to be sent at once: 16 small
// files where 4 large ones are.
func TestLanes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		size  int
		files int
		want  int
	}{
		{"small", 100, 20, 16},
		{"large", 300 << 10, 6, 4},
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
					close(open)
				}
				mu.Unlock()
				select {
				case <-open:
				case <-r.Context().Done():
				}
				return false
			}
			r, err := agent.Push(t.Context(), config(tree(t, files)), dial(t, c.URLs()...), &events{})
			if err != nil || r.Verdict != catalog.Good {
				t.Errorf("Push = %s, %v, want good after %d uploads at once; %d came", r.Verdict, err, tt.want, come)
			}
			if come != tt.files {
				t.Errorf("%d uploads, want %d", come, tt.files)
			}
		})
	}
}
