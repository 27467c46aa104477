package node

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"symkeep/internal/catalog"
)

func TestConfigValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Config)
		want string // part of the error; empty: valid
	}{
		{"defaults", func(*Config) {}, ""},
		{"wildcard without advertise", func(c *Config) { c.HTTPAddr = ":8480" }, "--advertise"},
		{"peer beyond loopback", func(c *Config) { c.PeerAddr = "10.0.0.1:8481" }, "--insecure-cluster"},
		{"gossip wildcard", func(c *Config) { c.GossipAddr, c.Advertise = "0.0.0.0:8482", "h" }, "--insecure-cluster"},
		{"insecure said", func(c *Config) { c.PeerAddr, c.GossipAddr, c.InsecureCluster = "10.0.0.1:1", "10.0.0.1:2", true }, ""},
		{"public http", func(c *Config) { c.HTTPAddr, c.Advertise = ":8480", "h" }, ""},
		{"join and found", func(c *Config) { c.Join, c.NewCluster = []string{"a:1"}, Yes }, "exclude"},
		{"join without port", func(c *Config) { c.Join = []string{"host"} }, "host:port"},
		{"replicas", func(c *Config) { c.Settings.Replicas = 0 }, "replicas 0"},
		{"mail without sender", func(c *Config) { c.Settings.MailTo = []string{"a@b"} }, "mail-from"},
		{"name with a blank", func(c *Config) { c.Name = "a b" }, "name"},
	} {
		c := DefaultConfig()
		tt.edit(&c)
		err := c.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, catalog.ErrInvalid)) {
			t.Errorf("%s: Validate() = %v, want an ErrInvalid about %q", tt.name, err, tt.want)
		}
	}
}

func TestFoundsCluster(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Config)
		want bool
	}{
		{"loopback", func(*Config) {}, true},
		{"join", func(c *Config) { c.Join = []string{"a:1"} }, false},
		{"told not to", func(c *Config) { c.NewCluster = No }, false},
		{"public address", func(c *Config) { c.HTTPAddr = ":8480" }, false},
		{"public address, told to", func(c *Config) { c.HTTPAddr, c.NewCluster = ":8480", Yes }, true},
	} {
		c := DefaultConfig()
		tt.edit(&c)
		if got := c.foundsCluster(); got != tt.want {
			t.Errorf("%s: foundsCluster() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	a, err := openIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	const c1, c2 = "6f2b1c1e-54a8-4b7c-9d0e-3a5f7c9b1d2e", "7f2b1c1e-54a8-4b7c-9d0e-3a5f7c9b1d2e"
	if err := a.setCluster(c1); err != nil {
		t.Fatal(err)
	}
	if err := a.setCluster(c2); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("setCluster to another one = %v, want ErrConflict", err)
	}
	b, err := openIdentity(dir)
	if err != nil || b.Node != a.Node || b.Cluster != c1 {
		t.Errorf("openIdentity again = %+v, %v, want node %s of cluster %s", b, err, a.Node, c1)
	}
}

// TestHalfRestored: no node starts on a directory whose restore broke off, not even
// as a new one before there is a catalog.
func TestHalfRestored(t *testing.T) {
	dir := t.TempDir()
	if err := writeFile(dir, restoringFile, "mark"); err != nil {
		t.Fatal(err)
	}
	if _, err := openIdentity(dir); !errors.Is(err, catalog.ErrConflict) {
		t.Errorf("openIdentity of a half restored directory = %v, want ErrConflict", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind in the directory: %v, %v, want the mark alone", entries, err)
	}
}

// TestFailedNodeConfirmsNothing: a node that stops itself may be wrong about all it
// knows, so it grants itself no lease while its requests end.
func TestFailedNodeConfirmsNothing(t *testing.T) {
	n, _ := newLedgerNode(t)
	n.fail(errors.New("catalog diverged"))
	err := n.confirmApplied(t.Context())
	if !errors.Is(err, catalog.ErrUnavailable) || !strings.Contains(err.Error(), "catalog diverged") {
		t.Errorf("confirmApplied of a node that stops = %v, want ErrUnavailable that says why", err)
	}
}

func TestTargetVoters(t *testing.T) {
	for n, want := range []int{1, 1, 1, 3, 3, 5, 5, 5, 5} {
		if got := targetVoters(n); got != want {
			t.Errorf("targetVoters(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestNewPackageID(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	a, b := newPackageID(at), newPackageID(at.Add(time.Millisecond))
	if len(a) != 26 || strings.Trim(string(a), crockford) != "" {
		t.Errorf("newPackageID = %q, want 26 characters of %s", a, crockford)
	}
	if a >= b {
		t.Errorf("ids %s and %s do not sort by time", a, b)
	}
	if a[:10] != "01HF7YAT00" {
		t.Errorf("time part = %s, want 01HF7YAT00", a[:10])
	}
	if newPackageID(at) == a {
		t.Error("two ids of one moment are equal")
	}
}

func TestNegativeLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rounds, fail := 0, error(nil)
		l := newNegativeLease(func(context.Context) error {
			rounds++
			time.Sleep(10 * time.Millisecond)
			return fail
		})
		defer l.stop()
		ctx := context.Background()
		var wg sync.WaitGroup
		for range 5 { // shared round
			wg.Go(func() {
				if err := l.acquire(ctx); err != nil {
					t.Errorf("acquire = %v, want nil", err)
				}
			})
		}
		wg.Wait()
		if rounds != 1 {
			t.Errorf("5 misses at once took %d rounds, want 1", rounds)
		}
		time.Sleep(leaseTime - 11*time.Millisecond) // it counts from the start of its round
		if !l.held() {
			t.Error("lease over before its time")
		}
		time.Sleep(2 * time.Millisecond)
		if l.held() {
			t.Error("lease held past its time")
		}
		fail = catalog.ErrUnavailable
		if err := l.acquire(ctx); !errors.Is(err, catalog.ErrUnavailable) {
			t.Errorf("acquire without a leader = %v, want ErrUnavailable", err)
		}
		l.trip()
		before := rounds
		if err := l.acquire(ctx); !errors.Is(err, errNobodySays) || rounds != before {
			t.Errorf("acquire with the breaker open = %v after %d rounds, want errNobodySays at once", err, rounds-before)
		}
		time.Sleep(breakerTime)
		fail = nil
		if err := l.acquire(ctx); err != nil {
			t.Errorf("acquire after the breaker = %v, want nil", err)
		}
	})
}
