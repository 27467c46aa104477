package symhttp

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/symid"
)

const (
	maxLookupKeys = 64
	maxIndexKey   = 1024 // bytes
)

// Peer holds what the peer server needs. Every field is required.
type Peer struct {
	Log       *slog.Logger
	Self      Self
	Consensus Consensus
	Copies    Copies
	Admission Admission
	Orders    Orders
}

// peers answers /peer/v1.
type peers struct {
	*Server
	Peer
}

// NewPeer returns the server of /peer/v1 for connections that showed this
// cluster's id. They must be bare *net.TCPConn for sendfile to work.
func NewPeer(cfg Config, p Peer) (*Server, error) {
	if p.Consensus == nil || p.Copies == nil || p.Admission == nil || p.Orders == nil {
		return nil, errors.New("http server: a part of Peer is missing")
	}
	s, err := newServer(cfg, p.Log, p.Self)
	if err != nil {
		return nil, err
	}
	h := &peers{s, p}
	t := newTable(
		route{"POST", "/peer/v1/propose", h.propose},
		route{"POST", "/peer/v1/read-index", h.readIndex},
		route{"GET", "/peer/v1/lookup", h.lookupKeys},
		route{"GET", "/peer/v1/status", h.status},
		route{"POST", "/peer/v1/leave", h.leave},
		route{"POST", "/peer/v1/have", h.have},
		route{"GET", "/peer/v1/blobs/*", h.blob},
		route{"POST", "/peer/v1/blobs/*/fetch", h.fetch},
		route{"GET", "/peer/v1/check", h.checkNode},
		route{"POST", "/peer/v1/scrub", h.scrubNow},
		route{"POST", "/peer/v1/transfer-leader", h.handOver},
		route{"POST", "/peer/v1/feature", h.raiseLevel},
		s.joinRoute(p.Admission),
	)
	s.handle(func(rc *fasthttp.RequestCtx) { s.serve(rc, t, rawPath(rc)) })
	return s, nil
}

// NewJoin returns the server for connections without a cluster id: they may call
// the join route and nothing else.
func NewJoin(cfg Config, log *slog.Logger, self Self, a Admission) (*Server, error) {
	if a == nil {
		return nil, errors.New("http server: no admission")
	}
	s, err := newServer(cfg, log, self)
	if err != nil {
		return nil, err
	}
	t := newTable(s.joinRoute(a))
	s.handle(func(rc *fasthttp.RequestCtx) { s.serve(rc, t, rawPath(rc)) })
	return s, nil
}

func (s *Server) joinRoute(a Admission) route {
	return route{"POST", "/peer/v1/join", func(rc *fasthttp.RequestCtx, _ []string) {
		var r api.JoinRequest
		if err := s.read(rc, &r); err != nil {
			s.fail(rc, err)
			return
		}
		ctx, cancel := s.call()
		defer cancel()
		v, err := a.AdmitMember(ctx, r)
		s.result(rc, v, err)
	}}
}

func (h *peers) propose(rc *fasthttp.RequestCtx, _ []string) {
	cmd, err := readBody(rc, h.cfg.CommandBytes)
	if err == nil && len(cmd) == 0 {
		err = refuse(http.StatusBadRequest, "body is empty, wanted an encoded command")
	}
	if err != nil {
		h.fail(rc, err)
		return
	}
	ctx, cancel := h.call()
	defer cancel()
	v, err := h.Consensus.Propose(ctx, cmd)
	if len(v) == 0 {
		v = []byte("null")
	}
	h.result(rc, json.RawMessage(v), err)
}

func (h *peers) readIndex(rc *fasthttp.RequestCtx, _ []string) {
	ctx, cancel := h.call()
	defer cancel()
	index, err := h.Consensus.ReadIndex(ctx)
	h.result(rc, api.ReadIndexResponse{Index: index}, err)
}

func (h *peers) lookupKeys(rc *fasthttp.RequestCtx, _ []string) {
	keys, err := indexKeys(rc)
	if err != nil {
		h.fail(rc, err)
		return
	}
	ctx, cancel := context.WithTimeout(h.base, h.cfg.LookupTimeout)
	defer cancel()
	v, err := h.Consensus.LookupKeys(ctx, keys)
	h.result(rc, v, err)
}

func indexKeys(rc *fasthttp.RequestCtx) ([]symid.IndexKey, error) {
	texts := rc.QueryArgs().PeekMulti("key")
	if len(texts) == 0 || len(texts) > maxLookupKeys {
		return nil, refuse(http.StatusBadRequest, "%d keys, wanted 1 to %d", len(texts), maxLookupKeys)
	}
	keys := make([]symid.IndexKey, 0, len(texts))
	for _, t := range texts {
		b, err := hex.DecodeString(string(t))
		if err != nil || len(b) == 0 || len(b) > maxIndexKey {
			return nil, refuse(http.StatusBadRequest, "key %q: wanted 1 to %d bytes in hex", clip(string(t)), maxIndexKey)
		}
		keys = append(keys, symid.IndexKey(b))
	}
	return keys, nil
}

func (h *peers) status(rc *fasthttp.RequestCtx, _ []string) {
	ctx, cancel := h.call()
	defer cancel()
	v, err := h.Consensus.PeerStatus(ctx)
	h.result(rc, v, err)
}

func (h *peers) leave(rc *fasthttp.RequestCtx, _ []string) {
	id := string(rc.QueryArgs().Peek("node"))
	if len(id) != 36 {
		h.fail(rc, refuse(http.StatusBadRequest, "node %q: wanted the 36 characters of a node id", clip(id)))
		return
	}
	d := api.Departure{Node: catalog.NodeID(id), UnlessNeeded: string(rc.QueryArgs().Peek("unless")) == "needed"}
	ctx, cancel := h.call()
	defer cancel()
	h.result(rc, done{}, h.Consensus.MemberLeaves(ctx, d))
}

func (h *peers) have(rc *fasthttp.RequestCtx, _ []string) {
	var r api.HaveRequest
	err := h.read(rc, &r)
	if err == nil && len(r.Digests) > api.MaxHave {
		err = refuse(http.StatusBadRequest, "%d digests, at most %d are accepted", len(r.Digests), api.MaxHave)
	}
	if err != nil {
		h.fail(rc, err)
		return
	}
	ctx, cancel := h.call()
	defer cancel()
	v, err := h.Copies.HaveCopies(ctx, r.Digests)
	h.result(rc, api.HaveResponse{Have: v}, err)
}

func (h *peers) fetch(rc *fasthttp.RequestCtx, args []string) {
	d, err := digest(args[0])
	var r api.FetchRequest
	if err == nil {
		err = h.read(rc, &r)
	}
	if err == nil && (r.Packed.Size <= 0 || r.RawSize <= 0 || r.Source == "") {
		err = refuse(http.StatusBadRequest, "fetch of blob %s: wanted a source, a raw size and a packed size", d)
	}
	if err != nil {
		h.fail(rc, err)
		return
	}
	ctx, cancel := context.WithTimeout(h.base, h.cfg.CallTimeout+h.cfg.sending(r.Packed.Size))
	defer cancel()
	h.result(rc, done{}, h.Copies.FetchCopy(ctx, d, r))
}

// blob sends the packed file of a blob, whole or a range, by sendfile. The other
// side knows its hash and checks it.
func (h *peers) blob(rc *fasthttp.RequestCtx, args []string) {
	d, err := digest(args[0])
	if err != nil {
		h.fail(rc, err)
		return
	}
	ctx, cancel := h.call()
	defer cancel()
	b, err := h.Copies.OpenCopy(ctx, d)
	if err != nil {
		h.fail(rc, err)
		return
	}
	part, result := span{0, b.Size()}, rangeWhole
	if lines := rc.Request.Header.PeekAll("Range"); len(lines) == 1 {
		part, result = parseRange(string(lines[0]), b.Size())
	}
	if result == rangeOut {
		rc.Response.Header.Set("Content-Range", "bytes */"+strconv.FormatInt(b.Size(), 10))
		h.fail(rc, refuse(http.StatusRequestedRangeNotSatisfiable, "blob %s: range %q of %d bytes", d, rc.Request.Header.Peek("Range"), b.Size()))
		b.Close()
		return
	}
	if err := h.send(rc, b, part); err != nil {
		b.Close()
		h.fail(rc, fmt.Errorf("blob %s: %w: %w", d, err, catalog.ErrUnavailable))
		return
	}
	if result == rangePart {
		rc.SetStatusCode(http.StatusPartialContent)
		rc.Response.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.off, part.end()-1, b.Size()))
	}
}

func (h *peers) send(rc *fasthttp.RequestCtx, b Blob, part span) error {
	f := b.File()
	if f == nil {
		return errors.New("the copy is not a local file")
	}
	if _, err := f.Seek(part.off, 0); err != nil {
		return err
	}
	h.stamp(rc)
	rc.SetContentType("application/octet-stream")
	rc.Response.Header.Set("Accept-Ranges", "bytes")
	rc.SetWriteDeadline(time.Now().Add(h.cfg.WriteTimeout + h.cfg.sending(part.n)))
	stream(rc, &body{src: f, size: part.n, conn: rc.Conn(), done: func(bool) { b.Close() }})
	return nil
}
