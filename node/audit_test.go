package node

import (
	"strings"
	"testing"

	"symkeep/internal/api"
)

func TestDiffer(t *testing.T) {
	said := func(name string, hashes ...api.CatalogHash) api.PeerStatus {
		return api.PeerStatus{Name: name, Hashes: hashes}
	}
	for _, tt := range []struct {
		name string
		said []api.PeerStatus
		want string // the nodes named; empty: none
	}{
		{"nobody", nil, ""},
		{"alike", []api.PeerStatus{said("a", api.CatalogHash{Index: 7, Hash: "x"}), said("b", api.CatalogHash{Index: 7, Hash: "x"})}, ""},
		{"at different commands", []api.PeerStatus{said("a", api.CatalogHash{Index: 7, Hash: "x"}), said("b", api.CatalogHash{Index: 8, Hash: "y"})}, ""},
		{"one silent", []api.PeerStatus{{}, said("b", api.CatalogHash{Index: 8, Hash: "y"})}, ""},
		{"newest", []api.PeerStatus{said("a", api.CatalogHash{Index: 7, Hash: "x"}), {}, said("c", api.CatalogHash{Index: 7, Hash: "y"})}, "nodes a and c differ at log index 7"},
		{"step", []api.PeerStatus{
			said("a", api.CatalogHash{Index: 1007, Hash: "x"}, api.CatalogHash{Index: 1000, Hash: "p", Step: true}),
			said("b", api.CatalogHash{Index: 1003, Hash: "y"}, api.CatalogHash{Index: 1000, Hash: "q", Step: true}),
		}, "nodes a and b differ at log index 1000"},
		{"a step is no newest command", []api.PeerStatus{
			said("a", api.CatalogHash{Index: 1000, Hash: "x"}),
			said("b", api.CatalogHash{Index: 1000, Hash: "p", Step: true}),
		}, ""},
	} {
		if got := differ(tt.said); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: differ = %q, want %q", tt.name, got, tt.want)
		}
	}
}
