//go:build corpus

package validate_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"symkeep/internal/catalog"
)

// Choices of TestMutate.
const (
	maxSpecimen = 3 << 20 // bytes; larger files cost the tools seconds each
	alarmSample = 5       // of so many flagged mutants one is shown to the tools as well
	deepSample  = 10      // of so many mutants that tools read without complaint one is read deeply
	missBound   = 5       // per cent of the damage that may be missed, all families together
)

// TestMutate damages files of the corpus at random. Whatever symkeep lets pass goes
// to the reference tools: a mutant is missed if they report an error, crash or do
// not end, and did not for the original. What they merely warn of is counted apart,
// and so is what only a deep reading sees of every tenth of the rest. One flagged
// mutant in five goes there too: if they print the very same as for the original, and the file is not shorter, it
// counts as an alarm, which is worth a look: tools do not read everything, and
// the only one for portable PDBs reads little more than their id.
//
// It fails for a panic, for a check that takes too long, for memory, and for too
// many misses. SYMKEEP_MUTANTS is how many mutants to make, SYMKEEP_SEED which ones, and
// SYMKEEP_FAMILY of which one family, if not of all. Examples, with what was done to
// them, are kept in tmp/mutants.
func TestMutate(t *testing.T) {
	n, seed := number(t, "SYMKEEP_MUTANTS", 20000), number(t, "SYMKEEP_SEED", 1)
	dir, m := openCorpus(t)
	pool := corpusSpecimens(t, dir, m)
	s := newScore(t, filepath.Join("..", "..", "tmp", "mutants"))
	heap, start := watchHeap(t), time.Now()
	const workers = 2
	g, ctx := errgroup.WithContext(t.Context())
	for w := range workers {
		ref := newReference(t)
		g.Go(func() error {
			for no := w; no < n; no += workers {
				if err := judge(ctx, ref, s, newMutant(uint64(seed), no, pool)); err != nil {
					return fmt.Errorf("mutant %d of seed %d: %w", no, seed, err)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d mutants of seed %d in %v; %s\n%s", n, seed, time.Since(start).Round(time.Second), s.times(), s.table())
	t.Logf("heap grew by %d MiB at most, bound %d MiB; peak RSS of this process %s", heap.peak()>>20, heapBound>>20, peakRSS())
	if heap.peak() > heapBound {
		t.Errorf("heap grew by %d MiB, want at most %d", heap.peak()>>20, heapBound>>20)
	}
	if rate := missRate(s.counts["~"]); rate > missBound {
		t.Errorf("%.1f %% of the damage was missed, want at most %d: see tmp/mutants/index.txt", rate, missBound)
	}
}

// number is an environment variable with a default.
func number(t *testing.T, name string, value int) int {
	if s := os.Getenv(name); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	return value
}

// corpusSpecimens are the files of the corpus that are good each by itself.
func corpusSpecimens(t *testing.T, dir string, m manifest) map[string][]specimen {
	pool := map[string][]specimen{}
	only := os.Getenv("SYMKEEP_FAMILY")
	for _, f := range m.Files {
		if only != "" && f.Family != only || f.Family == "raw" || strings.HasPrefix(f.Path, "defects/") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, f.Path))
		if err != nil {
			t.Fatal(err)
		}
		s := specimen{f.Family, memberPath(f.Path), f.Path, data}
		if rep := check(t, named(file(s.path, data))); rep.Verdict == catalog.Good && len(data) <= maxSpecimen {
			pool[f.Family] = append(pool[f.Family], s)
		}
	}
	if len(pool) == 0 {
		t.Fatalf("SYMKEEP_FAMILY=%s: no such file in the corpus, wanted pe, pdb, ppdb, elf, macho, sym or wasm", only)
	}
	return pool
}

// judge lets symkeep and, where they are wanted, the tools read m, and counts.
func judge(ctx context.Context, ref *reference, s *score, m mutant) error {
	start := time.Now()
	rep, err := examine(ctx, m)
	if err != nil {
		return fmt.Errorf("%s of %s (%s), kept as %s: %w", m.kind, m.of.origin, m.what, m.save(s.t, s.dir), err)
	}
	took := time.Since(start)
	if rep.Verdict == catalog.Failed {
		s.count(m, took, "flagged")
		if m.no%alarmSample == 0 {
			return judgeFlagged(ctx, ref, s, m, rep.Files[0].Findings[0])
		}
		return nil
	}
	s.count(m, took, "clean")
	return judgeClean(ctx, ref, s, m)
}

func judgeFlagged(ctx context.Context, ref *reference, s *score, m mutant, f catalog.Finding) error {
	c, err := ref.compare(ctx, m, plain)
	if err != nil {
		return err
	}
	s.add(m, "sampled")
	if c.same && len(m.data) >= len(m.of.data) {
		s.example(m, "alarm", f.Code+" "+f.Message)
	}
	return nil
}

func judgeClean(ctx context.Context, ref *reference, s *score, m mutant) error {
	c, err := ref.compare(ctx, m, plain)
	switch {
	case err != nil:
		return err
	case c.isError:
		s.example(m, "missed", c.complaint)
		return nil
	case c.complaint != "":
		s.example(m, "warned", c.complaint)
		return nil
	}
	if m.no%deepSample != 0 {
		return nil
	}
	s.add(m, "deep read")
	c, err = ref.compare(ctx, m, deep)
	if err == nil && c.isError {
		s.example(m, "deep", c.complaint)
	}
	return err
}
