package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/spool"
)

// An Ingester takes a package.
type Ingester interface {
	Open(ctx context.Context, r api.OpenRequest) (api.OpenResponse, error)
	AddFiles(ctx context.Context, id catalog.PackageID, r api.AddFilesRequest) (api.AddFilesResponse, error)
	UploadState(ctx context.Context, s api.Sending) (api.UploadState, error)
	Send(ctx context.Context, s api.Sending, offset int64, body io.Reader) (catalog.Receipt, error)
	RenewLease(ctx context.Context, id catalog.PackageID) error
	Commit(ctx context.Context, id catalog.PackageID, r api.CommitRequest) (api.CommitResponse, error)
}

// A Config says what to push. Its zero value is not complete, see Validate.
type Config struct {
	Product string            // at most catalog.MaxText bytes
	Version string            // at most catalog.MaxText bytes
	Labels  map[string]string // at most catalog.MaxLabels
	Comment string            // at most catalog.MaxComment bytes
	Paths   []string          // files and folders
	Policy  catalog.Policy    // how to weigh findings, see validate.ParsePolicy
	Sources *Sources          // nil: no source files go with the package
	NoWait  bool              // return once the package is committed, without a verdict
	Timeout time.Duration     // without progress; 1 s or more, default 10 min
	Uploads int               // files sent at once, 1 to 64, default 4; more where they are small
	Workers int               // files read at once, 0 for four per CPU up to 16
	Raw     bool              // send files unpacked: the nodes pack them, this machine does not

	// Probe is how often a server is asked whether it lives while a request waits
	// for it, and how long it may take to answer: after three times that, the next
	// server is tried. 10 ms or more, default 3 s.
	Probe time.Duration
}

// DefaultConfig returns the defaults, without what only the caller knows.
func DefaultConfig() Config {
	return Config{Timeout: 10 * time.Minute, Uploads: 4, Probe: 3 * time.Second}
}

// Validate reports every problem at once; errors wrap ErrUsage.
func (c Config) Validate() error {
	var errs []error
	for _, t := range []struct {
		what, text string
		limit      int
		need       bool
	}{
		{"product", c.Product, catalog.MaxText, true},
		{"version", c.Version, catalog.MaxText, true},
		{"comment", c.Comment, catalog.MaxComment, false},
	} {
		if t.need && strings.TrimSpace(t.text) == "" {
			errs = append(errs, fmt.Errorf("%s is empty", t.what))
		}
		errs = append(errs, catalog.CheckText(t.what, t.text, t.limit))
	}
	if len(c.Labels) > catalog.MaxLabels {
		errs = append(errs, fmt.Errorf("%d labels, at most %d are accepted", len(c.Labels), catalog.MaxLabels))
	}
	for k, v := range c.Labels {
		errs = append(errs, catalog.CheckText("label", k, catalog.MaxText), catalog.CheckText("label "+k, v, catalog.MaxText))
	}
	errs = append(errs, c.Policy.Validate())
	if c.Timeout < time.Second {
		errs = append(errs, fmt.Errorf("timeout %s, wanted 1s or more", c.Timeout))
	}
	if c.Uploads < 1 || c.Uploads > 64 {
		errs = append(errs, fmt.Errorf("uploads %d, wanted 1 to 64", c.Uploads))
	}
	if c.Probe < 10*time.Millisecond {
		errs = append(errs, fmt.Errorf("probe %s, wanted 10ms or more", c.Probe))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", strings.ReplaceAll(err.Error(), "\n", "; "), ErrUsage)
	}
	return nil
}

// leaseEvery is how often an open package's lease is renewed.
const leaseEvery = 20 * time.Second

// commitRounds is how often a commit may find blobs lacking again: they were
// there when the package was opened, and retired or lost since.
const commitRounds = 5

// Push scans, uploads and commits one package, and waits for its verdict. The
// result is meaningful whenever its Package is set, even beside an error. A
// verdict failed or the state stuck is a result, not an error. Files that no
// cluster can take, such as empty ones, fail the push here: the result then is
// that of Check, without a package.
//
// Errors wrap ErrUsage (the arguments), catalog.ErrUnavailable (worth a retry),
// what IsRefused recognises, ErrOtherCluster or ErrChanged, where they apply. The
// end of ctx gives an *Interrupted.
func Push(ctx context.Context, cfg Config, list []Server, report Reporter) (api.Result, error) {
	if err := cfg.Validate(); err != nil {
		return api.Result{}, err
	}
	if len(list) == 0 {
		return api.Result{}, fmt.Errorf("no server given: %w", ErrUsage)
	}
	dir := spool.New("", nil)
	defer dir.Close()
	files, err := Scan(ctx, cfg.Paths, dir, cfg.Workers, report)
	if err != nil {
		return api.Result{}, interrupted(ctx, err, &push{})
	}
	reportPairs(files, report)
	if files, err = addSources(ctx, files, cfg.Sources, report); err != nil {
		return api.Result{}, interrupted(ctx, err, &push{})
	}
	if slices.ContainsFunc(files, unacceptable) {
		r, err := check(ctx, files, cfg, report)
		return r, interrupted(ctx, err, &push{})
	}
	p := &push{
		cfg: cfg, report: report, all: files,
		servers: newServers(list, mathrand.IntN(len(list)), cfg, report),
		sent:    map[catalog.Digest]bool{}, dir: dir, room: semaphore.NewWeighted(packRoom),
	}
	for i := range files {
		if !files[i].Ignored {
			p.files = append(p.files, &files[i])
		}
	}
	result, err := p.run(ctx)
	return result, interrupted(ctx, err, p)
}

// A push is one package on its way.
type push struct {
	cfg     Config
	report  Reporter
	servers *servers
	all     []File  // the scan, ignored ones included
	files   []*File // what is pushed; the index is the number in the package
	id      catalog.PackageID
	sent    map[catalog.Digest]bool // uploaded by this push
	uploads transfer
	dir     *spool.Dir          // of packed files and of members of archives
	room    *semaphore.Weighted // of packed files, in bytes
	takes   takes

	committing bool // a commit is under way
	committed  bool
}

func (p *push) run(ctx context.Context) (api.Result, error) {
	if err := p.stage(ctx); err != nil {
		return api.Result{Package: p.id}, err
	}
	if p.cfg.NoWait {
		return p.localResult(ctx)
	}
	st, err := p.verdict(ctx)
	if err != nil {
		return api.Result{Package: p.id, State: catalog.StateCommitted}, err
	}
	return p.result(ctx, st)
}

// stage brings the package to commit while its lease is kept alive.
func (p *push) stage(ctx context.Context) error {
	if err := p.open(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	staged, stop := context.WithCancel(gctx)
	g.Go(func() error { return p.keepLease(staged) })
	g.Go(func() error {
		defer stop()
		return p.fill(gctx)
	})
	return g.Wait()
}

func (p *push) open(ctx context.Context) error {
	r := api.OpenRequest{
		IdempotencyKey: rand.Text(), Product: p.cfg.Product, Version: p.cfg.Version,
		Labels: p.cfg.Labels, Comment: p.cfg.Comment, Policy: p.cfg.Policy.Ref(), Sources: p.cfg.Sources != nil,
	}
	err := p.servers.do(ctx, "open package", func(ctx context.Context, s Server) error {
		rctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		resp, err := s.Open(rctx, r)
		if err != nil {
			return late(ctx, rctx, s, err)
		}
		if err := p.servers.learn(p.servers.number(s), resp.ClusterID); err != nil {
			return err
		}
		if !catalog.PolicyOf(resp.Policy).Equal(p.cfg.Policy) {
			return fmt.Errorf("%s: the server runs a former version, which does not know --allow and --deny: upgrade it, or push without them: %w", s.Base(), catalog.ErrConflict)
		}
		if r.Sources && !resp.Sources {
			return fmt.Errorf("%s: the server runs a former version, which does not know source files: upgrade it, or push without --sources: %w", s.Base(), catalog.ErrConflict)
		}
		p.id = resp.Package
		p.report.Report(Event{Event: EventOpened, Package: p.id, Server: s.Base(), ClusterID: resp.ClusterID})
		return nil
	})
	if err != nil {
		return err
	}
	return p.servers.verifyAll(ctx)
}

// fill announces the files, uploads what is lacking and commits.
func (p *push) fill(ctx context.Context) error {
	lacking, err := p.announce(ctx)
	if err != nil {
		return err
	}
	for range commitRounds {
		if err := p.upload(ctx, lacking); err != nil {
			return err
		}
		if lacking, err = p.commit(ctx); err != nil {
			return err
		}
		if len(lacking) == 0 {
			p.committed = true
			p.report.Report(Event{Event: EventCommitted, Package: p.id, Files: len(p.files)})
			return nil
		}
	}
	return fmt.Errorf("package %s: %d blobs are lacking after %d commits, such as %s: %w", p.id, len(lacking), commitRounds, lacking[0], catalog.ErrUnavailable)
}

func (p *push) announce(ctx context.Context) ([]catalog.Digest, error) {
	var lacking []catalog.Digest
	for first := 0; first < len(p.files); first += api.MaxFilesPerRequest {
		r := api.AddFilesRequest{First: first}
		for _, f := range p.files[first:min(first+api.MaxFilesPerRequest, len(p.files))] {
			r.Files = append(r.Files, api.FileEntry{Path: f.Path, Source: f.Source, Size: f.Size, SHA256: f.SHA256})
		}
		var resp api.AddFilesResponse
		err := p.request(ctx, "announce files", requestTimeout, func(ctx context.Context, s Server) (err error) {
			resp, err = s.AddFiles(ctx, p.id, r)
			return err
		})
		if err != nil {
			return nil, err
		}
		lacking = append(lacking, resp.Lacking...)
	}
	return lacking, nil
}

func (p *push) commit(ctx context.Context) ([]catalog.Digest, error) {
	var resp api.CommitResponse
	p.committing = true
	err := p.request(ctx, "commit package "+string(p.id), commitTimeout+api.CommitTime(len(p.files)), func(ctx context.Context, s Server) (err error) {
		resp, err = s.Commit(ctx, p.id, api.CommitRequest{Files: len(p.files)})
		return err
	})
	if err == nil {
		p.committing = false
	}
	return resp.Lacking, err
}

// keepLease renews the lease until ctx ends. A package that has expired ends the
// push; a server that cannot be reached is the uploads' concern, and a refusal may
// only mean that a commit was faster than its answer.
func (p *push) keepLease(ctx context.Context) error {
	for {
		if sleep(ctx, leaseEvery) != nil {
			return nil
		}
		r := p.servers.round(ctx, func(ctx context.Context, s Server) error {
			rctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			err := s.RenewLease(rctx, p.id)
			if errors.Is(err, catalog.ErrConflict) {
				if st, serr := s.Package(rctx, p.id, 0); serr == nil && st.State != catalog.StateExpired {
					return nil
				}
			}
			return late(ctx, rctx, s, err)
		})
		if r.final && r.err != nil && ctx.Err() == nil {
			return fmt.Errorf("package %s: lease not renewed: %w: push again, only what is missing is sent", p.id, r.err)
		}
	}
}

// Time limits of one attempt. A leader may have to be elected first, and a commit
// asks the holders of every blob, for which there is time of its own; a node gives up
// by itself after 30 s and that.
const (
	requestTimeout = 20 * time.Second
	commitTimeout  = 40 * time.Second
)

// request sends one small request to whichever server does it.
func (p *push) request(ctx context.Context, what string, limit time.Duration, f func(context.Context, Server) error) error {
	limit = min(limit, p.cfg.Timeout+requestTimeout)
	return p.servers.do(ctx, what, func(ctx context.Context, s Server) error {
		rctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return late(ctx, rctx, s, f(rctx, s))
	})
}

// late turns the end of one attempt's time into an error worth a retry.
func late(ctx, attempt context.Context, s Server, err error) error {
	if err != nil && ctx.Err() == nil && attempt.Err() != nil {
		return fmt.Errorf("%s: no answer in time: %w", s.Base(), catalog.ErrUnavailable)
	}
	return err
}
