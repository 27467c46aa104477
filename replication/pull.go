package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"symkeep/internal/blobstore"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/internal/fault"
)

// errOtherCopy says that a peer holds other packed bytes than those wanted.
var errOtherCopy = fmt.Errorf("the peer's copy is packed differently: %w", catalog.ErrConflict)

// A Wanted is one packed form of a blob.
type Wanted struct {
	Digest  catalog.Digest
	RawSize int64
	Packed  catalog.Packed
}

type flightKey struct {
	digest, packed catalog.Digest
}

// flight is one pull; entry and err are set before done is closed.
type flight struct {
	done    chan struct{}
	entry   blobstore.Entry
	err     error
	urgent  chan struct{} // closed once somebody waits for the copy, under the lock of flights
	hurried bool
}

// A purpose is why a copy is brought here.
type purpose int

const (
	awaited   purpose = iota // a push or a reader waits for it
	mending                  // repair: a place of this node has too few live copies
	balancing                // repair: the blob has its copies, this is a better place
)

// hurry lets a flight go on without limits. The caller holds the lock of flights.
func (f *flight) hurry() {
	if !f.hurried {
		f.hurried = true
		close(f.urgent)
	}
}

// Pull makes this node hold the packed form, fetching it from the sources in turn
// unless it is here. When it returns nil the copy is verified and durable; a copy
// with other packed bytes has been replaced. Pulls of one form share one transfer.
// The error wraps catalog.ErrUnavailable if no source gave it, catalog.ErrFull if
// there is no space.
func (r *Replicator) Pull(ctx context.Context, w Wanted, sources []catalog.NodeID) (blobstore.Entry, error) {
	return r.pull(ctx, w, sources, awaited)
}

func (r *Replicator) pull(ctx context.Context, w Wanted, sources []catalog.NodeID, why purpose) (blobstore.Entry, error) {
	key := flightKey{w.Digest, w.Packed.SHA256}
	if r.isSuspect(w.Digest) { // storing would keep the copy that is here
		if err := r.examine(ctx, w.Digest); err != nil {
			return blobstore.Entry{}, err
		}
	}
	for {
		if e, ok := r.local(w.Digest); ok && e.Packed == w.Packed {
			return e, nil
		}
		r.mu.Lock()
		f, joined := r.flights[key]
		if !joined {
			f = &flight{done: make(chan struct{}), urgent: make(chan struct{}), err: errors.New("replication: pull panicked")}
			r.flights[key] = f
		}
		if why == awaited {
			f.hurry()
		}
		r.mu.Unlock()
		if !joined {
			r.fly(ctx, key, f, transfer{w, sources, why, r.repairGate(f), f.urgent})
			return f.entry, f.err
		}
		select {
		case <-ctx.Done():
			return blobstore.Entry{}, ctx.Err()
		case <-f.done:
		}
		// The other caller may have given up for reasons of its own.
		if f.err == nil || !isContext(f.err) {
			return f.entry, f.err
		}
	}
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func (r *Replicator) fly(ctx context.Context, key flightKey, f *flight, t transfer) {
	defer func() {
		r.mu.Lock()
		delete(r.flights, key)
		r.mu.Unlock()
		close(f.done)
	}()
	st, info, err := r.download(ctx, t)
	if err != nil {
		f.err = err
		return
	}
	w := t.want
	f.entry, f.err = st.Replace(info)
	if f.err == nil && f.entry.Packed != w.Packed {
		f.err = fmt.Errorf("blob %s: stored packed as %s, wanted %s: %w", w.Digest, f.entry.Packed.SHA256, w.Packed.SHA256, catalog.ErrConflict)
	}
}

// local returns the copy on this node, after a look whether its file is there and
// will stay: a removal under way has decided before the caller's question.
func (r *Replicator) local(d catalog.Digest) (blobstore.Entry, bool) {
	r.store.Settle(d)
	f, e, err := r.store.OpenBlob(d)
	if err != nil {
		if !errors.Is(err, catalog.ErrNotFound) {
			r.log.Warn("local copy not readable", "blob", d, "err", err)
		}
		return blobstore.Entry{}, false
	}
	f.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	return e, !r.suspects[d]
}

// A transfer is what one flight is to bring.
type transfer struct {
	want    Wanted
	sources []catalog.NodeID
	why     purpose
	gate    gate            // nil lets everything pass
	urgent  <-chan struct{} // closed once somebody waits for it
}

// space says which mark of a full disk the transfer heeds: a copy that is missed may
// fill it further than one that is only moved.
func (t transfer) space() blobstore.Use {
	if t.why == balancing {
		return blobstore.ForRepair
	}
	return blobstore.ForIngest
}

// download brings the packed form into a staging and verifies it.
func (r *Replicator) download(ctx context.Context, t transfer) (*blobstore.Staging, cab.Info, error) {
	if t.why != awaited && t.want.Packed.Size >= largeFrom {
		select {
		case r.large <- struct{}{}:
			defer func() { <-r.large }()
		case <-t.urgent: // somebody waits for it by now
		case <-ctx.Done():
			return nil, cab.Info{}, ctx.Err()
		}
	}
	select {
	case r.pulls <- struct{}{}:
		defer func() { <-r.pulls }()
	case <-ctx.Done():
		return nil, cab.Info{}, ctx.Err()
	}
	st, err := r.store.CreateFor(t.space(), t.want.RawSize)
	if err != nil {
		return nil, cab.Info{}, err
	}
	info, err := r.fetch(ctx, st, t)
	if err != nil {
		st.Abort()
		return nil, cab.Info{}, err
	}
	return st, info, nil
}

// fetch tries the sources one after the other. What one gave is kept for the
// next; if the whole does not verify, every source is tried alone from the start.
func (r *Replicator) fetch(ctx context.Context, st *blobstore.Staging, t transfer) (cab.Info, error) {
	w, sources := t.want, t.sources
	var tried []error
	var offset int64
	mixed := 0 // sources that have given bytes of what is staged
	queue := slices.Clone(sources)
	alone := false
	for len(queue) > 0 {
		src := queue[0]
		queue = queue[1:]
		if src == r.cfg.Self {
			continue
		}
		n, err := r.transfer(ctx, st, t, src, offset)
		if n > 0 {
			mixed++
		}
		offset += n
		if err == nil {
			var info cab.Info
			if info, err = r.check(ctx, st, t); err == nil {
				return info, nil
			}
			if !alone && mixed > 1 {
				alone, queue = true, slices.Clone(sources)
			}
			offset, mixed = 0, 0
		} else if alone {
			offset, mixed = 0, 0
		}
		if ctx.Err() != nil {
			return cab.Info{}, ctx.Err()
		}
		if errors.Is(err, catalog.ErrFull) {
			return cab.Info{}, err
		}
		tried = append(tried, fmt.Errorf("from %s: %w", src, err))
	}
	if len(tried) == 0 {
		return cab.Info{}, fmt.Errorf("blob %s: no other member to fetch it from: %w", w.Digest, catalog.ErrUnavailable)
	}
	// A conflict or a miss at the source is not what our caller has to tell apart.
	return cab.Info{}, fmt.Errorf("blob %s: no source gave it: %v: %w", w.Digest, errors.Join(tried...), catalog.ErrUnavailable)
}

// transfer appends the bytes from offset on, window by window, and returns how
// many it got. A source that cuts a window short is asked again as long as it
// gives something.
func (r *Replicator) transfer(ctx context.Context, st *blobstore.Staging, t transfer, src catalog.NodeID, offset int64) (int64, error) {
	var got int64
	half := t.want.Packed.Size / 2
	for offset+got < t.want.Packed.Size {
		n, err := r.window(ctx, st, t, src, offset+got)
		if was := offset + got; was <= half && was+n > half {
			fault.Point("pull-half")
		}
		got += n
		if t.why != awaited {
			r.pulled.Add(n)
		}
		if err != nil && n == 0 {
			return got, err
		}
		if ctx.Err() != nil {
			return got, ctx.Err()
		}
		if errors.Is(err, catalog.ErrFull) {
			return got, err
		}
	}
	return got, nil
}

// toBegin is how long a member may take before the first byte. One that is cut off
// says nothing, not even no: the next source must not wait as long for its turn as
// for a transfer that goes slowly.
func (r *Replicator) toBegin() time.Duration { return min(r.cfg.AskFor, r.cfg.Stall) }

func (r *Replicator) window(ctx context.Context, st *blobstore.Staging, t transfer, src catalog.NodeID, offset int64) (int64, error) {
	w := t.want
	n := min(r.cfg.Window, w.Packed.Size-offset)
	if t.gate != nil {
		var err error
		if n, err = t.gate(ctx, n); err != nil {
			return 0, err
		}
	}
	p := Part{Digest: w.Digest, Total: w.Packed.Size, Offset: offset, Bytes: n, Path: st.Path(), Begin: r.toBegin(), Stall: r.cfg.Stall}
	if r.cfg.Courier != nil && t.leisurely() {
		copied, err := r.send(ctx, st, t, src, p)
		if !errors.Is(err, ErrNoCourier) {
			return copied, err
		}
	}
	fetch := func(ctx context.Context, d catalog.Digest, offset, n int64) (io.ReadCloser, int64, error) {
		return r.cfg.Peers.Fetch(ctx, src, d, offset, n)
	}
	return p.Copy(ctx, fetch, st, r.paceOf(t).After)
}

// verify reads what is staged.
func (r *Replicator) verify(ctx context.Context, st *blobstore.Staging, t transfer) (cab.Info, error) {
	if r.cfg.Courier != nil && t.leisurely() {
		leisure, cancel := t.whileLeisurely(ctx)
		defer cancel()
		info, err := r.cfg.Courier.Verify(leisure, st.Path(), t.want.Packed.Size)
		if !errors.Is(err, ErrNoCourier) && (err == nil || ctx.Err() != nil || t.leisurely()) {
			return info, err
		}
	}
	return cab.Verify(ctx, PacedReaderAt{st, r.paceOf(t)}, t.want.Packed.Size)
}

// check verifies the staged bytes to be the packed form.
func (r *Replicator) check(ctx context.Context, st *blobstore.Staging, t transfer) (cab.Info, error) {
	w := t.want
	if err := st.Truncate(w.Packed.Size); err != nil {
		return cab.Info{}, err
	}
	info, err := r.verify(ctx, st, t)
	if err != nil {
		return cab.Info{}, err
	}
	if got := catalog.Digest(info.RawSHA256); got != w.Digest {
		return cab.Info{}, fmt.Errorf("got blob %s: %w", got, cab.ErrCorrupt)
	}
	if got := catalog.Digest(info.PackedSHA256); got != w.Packed.SHA256 || catalog.Container(info.Container) != w.Packed.Container {
		return cab.Info{}, fmt.Errorf("got packed form %s, wanted %s: %w", got, w.Packed.SHA256, errOtherCopy)
	}
	if info.RawSize != w.RawSize {
		return cab.Info{}, fmt.Errorf("got %d raw bytes, wanted %d: %w", info.RawSize, w.RawSize, cab.ErrCorrupt)
	}
	return info, nil
}
