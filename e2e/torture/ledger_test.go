package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"symkeep/internal/catalog"
)

// TestOwed: when a 404 is false.
func TestOwed(t *testing.T) {
	type del struct {
		span
		refused bool
	}
	for _, tt := range []struct {
		name      string
		good      span
		deletes   []del
		undeletes []span
		read      span
		owed      bool
	}{
		{"after the verdict", span{1, 5}, nil, nil, span{6, 7}, true},
		{"before anybody knew", span{1, 5}, nil, nil, span{4, 7}, false},
		{"during a delete", span{1, 5}, []del{{span{8, 9}, false}}, nil, span{6, 8}, false},
		{"before a delete", span{1, 5}, []del{{span{8, 9}, false}}, nil, span{6, 7}, true},
		{"after a delete", span{1, 5}, []del{{span{8, 9}, false}}, nil, span{10, 11}, false},
		{"after a delete that was refused", span{1, 5}, []del{{span{8, 9}, true}}, nil, span{10, 11}, true},
		{"after an undelete", span{1, 5}, []del{{span{8, 9}, false}}, []span{{10, 12}}, span{13, 14}, true},
		{"during an undelete", span{1, 5}, []del{{span{8, 9}, false}}, []span{{10, 12}}, span{11, 14}, false},
		{"a delete that may come after the undelete", span{1, 5}, []del{{span{8, forever}, false}}, []span{{10, 12}}, span{13, 14}, false},
		{"a delete beside the undelete", span{1, 5}, []del{{span{8, 11}, false}}, []span{{10, 12}}, span{13, 14}, false},
		{"two deletes, one undelete between", span{1, 5}, []del{{span{6, 7}, false}, {span{20, 21}, false}}, []span{{8, 9}}, span{10, 15}, true},
	} {
		l, f := newLedger(), newFile(rand.New(rand.NewPCG(1, 1)))
		p := &pkg{files: []*file{f}, expect: good}
		l.add(p)
		if err := l.judged(p, catalog.Good, tt.good); err != nil {
			t.Fatal(err)
		}
		for _, d := range tt.deletes {
			l.deleting(p, d.from)(d.to, !d.refused, d.to != forever)
		}
		for _, u := range tt.undeletes {
			l.undeleted(p, u)
		}
		if got, _ := l.owed(f.key(), tt.read); (got == p) != tt.owed {
			t.Errorf("%s: owed = %v, want %v", tt.name, got == p, tt.owed)
		}
	}
}

// TestJudge: what an answer to a debugger is worth.
func TestJudge(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	l := newLedger()
	f, other, bad := newFile(r), newFile(r), spoil(r)
	served := &pkg{files: []*file{f}, expect: good}
	refused := &pkg{files: []*file{bad}, expect: failed}
	l.add(served)
	l.add(refused)
	if err := l.judged(served, catalog.Good, span{1, 2}); err != nil {
		t.Fatal(err)
	}
	zip := func(b []byte) []byte {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(b)
		w.Close()
		return z.Bytes()
	}
	flipped := f.bytes()
	flipped[len(flipped)/2] ^= 4
	whole := http.Header{"Content-Length": {strconv.FormatInt(f.size, 10)}}
	part := http.Header{"Content-Range": {fmt.Sprintf("bytes 3-9/%d", f.size)}}
	for _, tt := range []struct {
		name   string
		q      query
		status int
		header http.Header
		body   []byte
		says   string // empty: nothing wrong
	}{
		{"whole", query{file: f}, 200, nil, f.bytes(), ""},
		{"flipped bit", query{file: f}, 200, nil, flipped, "wrong bytes"},
		{"cut", query{file: f}, 200, nil, f.bytes()[:100], "wrong bytes"},
		{"another file", query{file: f}, 200, nil, other.bytes(), "wrong bytes"},
		{"false 404", query{file: f}, 404, nil, nil, "false 404"},
		{"404 of what nobody pushed", query{file: other}, 404, nil, nil, ""},
		{"200 of what nobody pushed", query{file: other}, 200, nil, other.bytes(), "no good package"},
		{"200 of a failed one", query{file: bad}, 200, nil, bad.bytes(), "no good package"},
		{"error", query{file: f}, 503, nil, []byte("sorry"), "status 503"},
		{"redirect", query{file: f}, 302, nil, nil, "status 302"},
		{"gzip", query{mode: modeGzip, file: f}, 200, http.Header{"Content-Encoding": {"gzip"}}, zip(f.bytes()), ""},
		{"gzip of other bytes", query{mode: modeGzip, file: f}, 200, http.Header{"Content-Encoding": {"gzip"}}, zip(flipped), "wrong bytes"},
		{"raw for gzip", query{mode: modeGzip, file: f}, 200, nil, f.bytes(), ""},
		{"no cabinet", query{mode: modeCabinet, file: f}, 200, nil, f.bytes(), "no cabinet"},
		{"head", query{mode: modeHead, file: f}, 200, whole, nil, ""},
		{"head of another size", query{mode: modeHead, file: f}, 200, http.Header{"Content-Length": {"7"}}, nil, "content length"},
		{"range", query{mode: modeRange, file: f, from: 3, to: 9}, 206, part, f.bytes()[3:10], ""},
		{"range of other bytes", query{mode: modeRange, file: f, from: 3, to: 9}, 206, part, f.bytes()[4:11], "bytes 3 to 9"},
		{"another range", query{mode: modeRange, file: f, from: 3, to: 8}, 206, part, f.bytes()[3:10], "content range"},
		{"range ignored", query{mode: modeRange, file: f, from: 3, to: 9}, 200, nil, f.bytes(), "status 200"},
		{"range refused", query{mode: modeRange, file: f, from: 3, to: 9}, 416, nil, nil, "status 416"},
	} {
		header := tt.header
		if header == nil {
			header = http.Header{}
		}
		err := l.judge(tt.q, &http.Response{StatusCode: tt.status, Header: header}, tt.body, span{5, 6})
		if (err == nil) != (tt.says == "") || (err != nil && !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: judge = %v, want %q", tt.name, err, tt.says)
		}
	}
}

// TestFiles: a file is the same whenever it is made, and its kin differ as meant.
func TestFiles(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 20 {
		f := newFile(r)
		if !bytes.Equal(f.bytes(), f.bytes()) || int64(len(f.bytes())) != f.size {
			t.Fatalf("%s is not the same twice", f.name)
		}
		g := f.twist(r)
		if g.key() != f.key() || g.sum == f.sum {
			t.Errorf("twist of %s: key %s, equal bytes %v; want the same key and other bytes", f.key(), g.key(), g.sum == f.sum)
		}
	}
}
