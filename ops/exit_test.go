package ops_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/ops"
)

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("disk broke"), 1},
		{&agent.Interrupted{}, 1},
		{context.Canceled, 1},
		{agent.ErrOtherCluster, 1},
		{&api.Error{Code: api.CodeNotFound, Status: 404}, 1},
		{&api.Error{Code: api.CodeInternal, Status: 500}, 1},
		{ops.Usage("no such flag"), 2},
		{fmt.Errorf("PATH: %w", agent.ErrUsage), 2},
		{&ops.ExitError{Code: ops.ExitVerdict}, 3},
		{&api.Error{Code: api.CodeUnavailable, Status: 503}, 4},
		{fmt.Errorf("push: %w", &api.Error{Code: api.CodeFull, Status: 507}), 4},
		{fmt.Errorf("push: %w: %w", errors.New("timeout"), catalog.ErrUnavailable), 4},
		{&api.Error{Code: api.CodeNotLeader, Status: 421}, 4},
		{&api.Error{Code: api.CodeRefused, Status: 401}, 5},
		{fmt.Errorf("open: %w", &api.Error{Code: api.CodeRefused, Status: 403}), 5},
	} {
		if got := ops.ExitCode(tt.err); got != tt.want {
			t.Errorf("ExitCode(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestDial(t *testing.T) {
	for _, tt := range []struct {
		in   []string
		want []string // nil: usage error
	}{
		{[]string{"http://a:8480"}, []string{"http://a:8480"}},
		{[]string{"a:8480/", " https://b "}, []string{"http://a:8480", "https://b"}},
		{[]string{"a:1", "http://a:1", "b:1"}, []string{"http://a:1", "http://b:1"}},
		{nil, nil},
		{[]string{""}, nil},
		{[]string{"ftp://a"}, nil},
		{[]string{"http://"}, nil},
	} {
		clients, err := ops.Dial(tt.in)
		var got []string
		for _, c := range clients {
			got = append(got, c.Base())
		}
		if fmt.Sprint(got) != fmt.Sprint(tt.want) || (tt.want == nil) != (ops.ExitCode(err) == ops.ExitUsage) {
			t.Errorf("Dial(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}
