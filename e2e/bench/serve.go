package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	smallFiles = 64
	missing    = 1024     // keys that nobody has, asked for in turn
	plainSize  = 50 << 20 // of the files that are asked for raw
	few        = 2        // shots in a round, where rates of one and the same server differ much
	many       = 6        // where they differ by more than is to be told
)

// A job is one kind of work for several servers.
type job struct {
	work    string
	load    load
	shots   int                 // in each round
	paths   map[string][]string // by server
	targets map[string]float64  // requests per second of symkeep over those of this one
}

// A stage is the servers with what they serve.
type stage struct {
	cfg     config
	servers []*server
	nginx   *server // of them
	node    *node
	root    string // of nginx

	small           []*file
	mid, big, plain *file
}

// serve compares how hits and misses are answered.
func serve(ctx context.Context, cfg config, t *table) error {
	s := &stage{cfg: cfg, root: filepath.Join(cfg.dir, "www")}
	defer s.close()
	if err := s.build(ctx); err != nil {
		return err
	}
	jobs, err := s.jobs(ctx)
	if err != nil {
		return err
	}
	rates := make([]map[string][]float64, len(jobs))
	for round := range cfg.rounds {
		for i, j := range jobs {
			if rates[i] == nil {
				rates[i] = map[string][]float64{}
			}
			for shot := range j.shots {
				if err := s.shoot(ctx, j, round+shot, rates[i]); err != nil {
					return fmt.Errorf("%s: %w", j.work, err)
				}
			}
		}
	}
	for i, j := range jobs {
		t.add(j.line(s.servers, rates[i]))
	}
	if err := s.beside(ctx, t); err != nil {
		return err
	}
	return s.firstTime(ctx, t)
}

// from returns all of s, beginning with another one for each turn.
func from[T any](turn int, s []T) []T {
	i := turn % len(s)
	return slices.Concat(s[i:], s[:i])
}

// downloads is how many clients fetch files while the misses of others are timed.
const downloads = 32

// beside times misses while files of 1 MiB are fetched.
func (s *stage) beside(ctx context.Context, t *table) error {
	files := map[string]string{"symkeep": s.mid.debuginfo(), "nginx": "/mid.gz"}
	took := map[string][]float64{}
	for round := range s.cfg.rounds {
		for _, srv := range from(round, s.servers) {
			if files[srv.name] == "" {
				continue
			}
			ms, err := missesBeside(ctx, s.cfg, srv, files[srv.name])
			if err != nil {
				return fmt.Errorf("misses beside downloads: %w", err)
			}
			took[srv.name] = append(took[srv.name], ms...)
		}
	}
	l := line{work: fmt.Sprintf("miss at 1,000 requests/s while %d clients fetch 1 MiB", downloads)}
	for _, name := range []string{"symkeep", "nginx"} {
		l.values = append(l.values, value{name, median(took[name]), "ms, median"}, value{name, quantile(took[name], 0.99), "ms, p99"})
	}
	l.checks = []check{{what: "x the p99 of nginx", got: l.values[1].n / l.values[3].n, bound: 1, atMost: true}}
	t.add(l)
	return nil
}

func missesBeside(ctx context.Context, cfg config, srv *server, file string) ([]float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	const d = 3 * time.Second
	var loading sync.WaitGroup
	var failed error
	loading.Go(func() {
		_, failed = shoot(ctx, cfg.dir, srv, load{conns: downloads, gzip: true}, []string{file}, d+2*time.Second)
	})
	time.Sleep(time.Second) // until it runs
	ms, err := steady(ctx, srv.addr, nowhere(5000), steadyRate, d, 404)
	if err != nil {
		cancel()
	}
	loading.Wait()
	return ms, errors.Join(err, failed)
}

// shoot puts the load of a job on each server in turn, beginning with another one each time.
func (s *stage) shoot(ctx context.Context, j job, first int, rates map[string][]float64) error {
	for _, srv := range from(first, s.servers) {
		if len(j.paths[srv.name]) == 0 {
			continue
		}
		rate, err := shoot(ctx, s.cfg.dir, srv, j.load, j.paths[srv.name], s.cfg.shot)
		if err != nil {
			return err
		}
		rates[srv.name] = append(rates[srv.name], rate)
	}
	return nil
}

// line sums the rounds of a job up.
func (j job) line(servers []*server, rates map[string][]float64) line {
	l := line{work: j.work}
	ours := median(rates["symkeep"])
	for _, srv := range servers {
		if len(rates[srv.name]) == 0 {
			continue
		}
		l.values = append(l.values, value{srv.name, median(rates[srv.name]), "requests/s"})
		if target, ok := j.targets[srv.name]; ok {
			l.checks = append(l.checks, check{what: "x " + srv.name, got: ours / median(rates[srv.name]), bound: target})
		}
	}
	return l
}

// build makes the files, starts the servers and pushes.
func (s *stage) build(ctx context.Context) error {
	src := filepath.Join(s.cfg.dir, "files")
	if err := makeDirs(src, s.root); err != nil {
		return err
	}
	make := func(name string, size int64, seed int) (*file, error) {
		return makeFile(filepath.Join(src, name), size, code(seed))
	}
	for i := range smallFiles {
		f, err := make(fmt.Sprintf("small%d.debug", i), 16<<10, i)
		if err != nil {
			return err
		}
		s.small = append(s.small, f)
	}
	var err error
	if s.mid, err = make("mid.debug", 5<<19, 100); err != nil { // packs to about 1 MiB
		return err
	}
	if s.big, err = make("big.debug", 125<<20, 200); err != nil { // packs to about 50 MiB
		return err
	}
	if s.plain, err = make("plain.debug", plainSize, 300); err != nil {
		return err
	}
	if s.node, err = newNode(s.cfg, "node", ""); err != nil {
		return err
	}
	if err := s.node.start(ctx); err != nil {
		return err
	}
	s.servers = append(s.servers, &server{"symkeep", s.node.addr, s.node.stop})
	if s.nginx, err = startNginx(ctx, s.cfg.dir, s.root); err != nil {
		return err
	}
	s.servers = append(s.servers, s.nginx)
	debuginfod, err := startDebuginfod(ctx, s.cfg.dir, src, smallFiles+3)
	if err != nil {
		return err
	}
	s.servers = append(s.servers, debuginfod)
	return s.node.push(ctx, src)
}

func makeDirs(dirs ...string) error {
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) close() {
	for _, srv := range s.servers {
		srv.stop()
	}
}

// jobs fetches what nginx is to serve and says what is asked of whom.
func (s *stage) jobs(ctx context.Context) ([]job, error) {
	same := func(f ...*file) (paths []string) {
		for _, f := range f {
			paths = append(paths, f.debuginfo())
		}
		return paths
	}
	for i, f := range append(slices.Clone(s.small), s.plain) {
		if err := s.copy(ctx, f.debuginfo(), f, fmt.Sprintf("raw%d", i), ""); err != nil {
			return nil, err
		}
	}
	var smallCopies, misses, ngMisses []string
	for i := range s.small {
		smallCopies = append(smallCopies, fmt.Sprintf("/raw%d", i))
	}
	for i := range missing {
		id := sha256.Sum256(fmt.Appendf(nil, "nobody has %d", i))
		misses = append(misses, "/buildid/"+hex.EncodeToString(id[:20])+"/debuginfo")
		ngMisses = append(ngMisses, "/"+hex.EncodeToString(id[:20]))
	}
	jobs := []job{
		{work: "hit, 16 KiB, 16 connections", load: load{conns: 16}, shots: few,
			paths:   map[string][]string{"symkeep": same(s.small...), "nginx": smallCopies, "debuginfod": same(s.small...)},
			targets: map[string]float64{"nginx": 1, "debuginfod": 5}},
		{work: "miss, 16 connections", load: load{conns: 16, missed: true}, shots: few,
			paths:   map[string][]string{"symkeep": misses, "nginx": ngMisses, "debuginfod": misses},
			targets: map[string]float64{"nginx": 1, "debuginfod": 5}},
		{work: "hit, 50 MiB raw, second time, 4 connections", load: load{conns: 4}, shots: few,
			paths: map[string][]string{"symkeep": same(s.plain), "nginx": {s.plainCopy()},
				"debuginfod": same(s.plain)}, targets: map[string]float64{"nginx": 0.95}},
	}
	for _, stored := range []struct {
		name, size string
		f          *file
		shots      int
	}{{"mid", "1 MiB", s.mid, many}, {"big", "50 MiB", s.big, few}} {
		if err := s.copy(ctx, stored.f.cabinet(), nil, stored.name+".pd_", ""); err != nil {
			return nil, err
		}
		if err := s.copy(ctx, stored.f.debuginfo(), nil, stored.name+".gz", "gzip"); err != nil {
			return nil, err
		}
		jobs = append(jobs,
			job{work: "hit, " + stored.size + " cabinet (.pd_), 4 connections", load: load{conns: 4}, shots: stored.shots,
				paths:   map[string][]string{"symkeep": {stored.f.cabinet()}, "nginx": {"/" + stored.name + ".pd_"}},
				targets: map[string]float64{"nginx": 0.95}},
			job{work: "hit, " + stored.size + " gzip, 4 connections", load: load{conns: 4, gzip: true}, shots: stored.shots,
				paths:   map[string][]string{"symkeep": same(stored.f), "nginx": {"/" + stored.name + ".gz"}},
				targets: map[string]float64{"nginx": 0.95}})
	}
	return jobs, nil
}

// plainCopy is the path of the plain file at nginx.
func (s *stage) plainCopy() string { return fmt.Sprintf("/raw%d", len(s.small)) }

// copy fetches an answer of symkeep, which has to be the file if one is named, into a
// file for nginx. It asks a second time: from then on the node has seen what is hot.
func (s *stage) copy(ctx context.Context, path string, f *file, name, encoding string) error {
	out, err := os.Create(filepath.Join(s.root, name))
	if err != nil {
		return err
	}
	defer out.Close()
	h := sha256.New()
	if _, err := fetch(ctx, "http://"+s.node.addr+path, encoding, io.MultiWriter(out, h)); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); f != nil && got != f.sha256 {
		return fmt.Errorf("GET %s: bytes with SHA-256 %s, wanted those of %s, %s", path, got, f.path, f.sha256)
	}
	_, err = fetch(ctx, "http://"+s.node.addr+path, encoding, io.Discard)
	return err
}

// fetch copies the body of an answer, encoded as it came, and returns its length.
func fetch(ctx context.Context, url, encoding string, w io.Writer) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0, err
	}
	if encoding == "" {
		encoding = "identity" // else the client asks for gzip and decodes it
	}
	req.Header.Set("Accept-Encoding", encoding)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	// The reads are large, and io.Discard has no say in them: what the client costs is the
	// server's loss.
	return io.CopyBuffer(struct{ io.Writer }{w}, resp.Body, make([]byte, 256<<10))
}
