package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestRaftLogger has a stop and a peer that is gone cry no alarm, and the rest
// come through as raft meant it.
func TestRaftLogger(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for _, tt := range []struct {
		level hclog.Level
		args  []any
		want  string
	}{
		{hclog.Error, []any{"error", fmt.Errorf("accept: %w", net.ErrClosed)}, `level=DEBUG msg="raft library" raft=said err="accept: use of closed network connection"`},
		{hclog.Error, []any{"peer", "n2", "error", refused}, `level=WARN msg="raft library" raft=said peer=n2 err="dial tcp: connection refused"`},
		{hclog.Error, []any{"error", errors.New("disk broke")}, `level=ERROR msg="raft library" raft=said err="disk broke"`},
		{hclog.Error, nil, `level=ERROR msg="raft library" raft=said`},
		{hclog.Warn, []any{"term", 3}, `level=WARN msg="raft library" raft=said term=3`},
		{hclog.Info, []any{"servers", hclog.Fmt("%+v", []int{1, 2})}, `level=DEBUG msg="raft library" raft=said servers="[1 2]"`},
	} {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		newRaftLogger(log).Log(tt.level, "said", tt.args...)
		if _, got, _ := strings.Cut(strings.TrimSpace(out.String()), " "); got != tt.want {
			t.Errorf("%s %v logs %s, want %s", tt.level, tt.args, got, tt.want)
		}
	}
}
