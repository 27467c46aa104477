package symhttp

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// buckets are the upper bounds of the lookup histogram, in seconds.
var buckets = [...]float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10}

// metrics counts what the public server does, and prints it in the Prometheus
// text format 0.0.4. Label sets are small and fixed.
type metrics struct {
	sentBytes   atomic.Int64
	uploads     atomic.Int64 // running
	uploadTotal atomic.Int64
	uploadBytes atomic.Int64

	mu      sync.Mutex
	lookups map[lookupLabels]int64
	seconds map[string]*histogram // by route
	calls   map[callLabels]int64
}

type lookupLabels struct{ route, result string }
type callLabels struct{ method, status string }

type histogram struct {
	counts [len(buckets) + 1]int64
	sum    float64
}

func newMetrics() *metrics {
	return &metrics{
		lookups: map[lookupLabels]int64{},
		seconds: map[string]*histogram{},
		calls:   map[callLabels]int64{},
	}
}

// lookup counts one debugger request, from its header to that of the answer.
func (m *metrics) lookup(route, result string, start time.Time) {
	took := time.Since(start).Seconds()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lookups[lookupLabels{route, result}]++
	h := m.seconds[route]
	if h == nil {
		h = &histogram{}
		m.seconds[route] = h
	}
	i, _ := slices.BinarySearch(buckets[:], took)
	h.counts[i]++
	h.sum += took
}

// call counts one request of /api/v1.
func (m *metrics) call(method string, status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls[callLabels{method, fmt.Sprint(status)}]++
}

// sent counts the bytes of an answer, when its header goes out.
func (m *metrics) sent(n int64) { m.sentBytes.Add(n) }

func (m *metrics) uploadBegins() { m.uploads.Add(1); m.uploadTotal.Add(1) }

func (m *metrics) uploadEnds(read int64) { m.uploads.Add(-1); m.uploadBytes.Add(read) }

// text prints every series, in a fixed order.
func (m *metrics) text() []byte {
	var b bytes.Buffer
	series := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	series("symkeep_http_sent_bytes_total", "counter", "Bytes of files announced to debuggers.")
	fmt.Fprintf(&b, "symkeep_http_sent_bytes_total %d\n", m.sentBytes.Load())
	series("symkeep_http_uploads", "gauge", "Uploads running.")
	fmt.Fprintf(&b, "symkeep_http_uploads %d\n", m.uploads.Load())
	series("symkeep_http_uploads_total", "counter", "Uploads begun.")
	fmt.Fprintf(&b, "symkeep_http_uploads_total %d\n", m.uploadTotal.Load())
	series("symkeep_http_upload_bytes_total", "counter", "Raw bytes taken from agents.")
	fmt.Fprintf(&b, "symkeep_http_upload_bytes_total %d\n", m.uploadBytes.Load())

	m.mu.Lock()
	defer m.mu.Unlock()
	series("symkeep_http_lookups_total", "counter", "Debugger requests by route and result.")
	for _, l := range slices.SortedFunc(maps.Keys(m.lookups), func(a, b lookupLabels) int {
		return strings.Compare(a.route+" "+a.result, b.route+" "+b.result)
	}) {
		fmt.Fprintf(&b, "symkeep_http_lookups_total{route=%q,result=%q} %d\n", l.route, l.result, m.lookups[l])
	}
	series("symkeep_http_calls_total", "counter", "Requests of /api/v1 by method and status.")
	for _, l := range slices.SortedFunc(maps.Keys(m.calls), func(a, b callLabels) int {
		return strings.Compare(a.method+" "+a.status, b.method+" "+b.status)
	}) {
		fmt.Fprintf(&b, "symkeep_http_calls_total{method=%q,status=%q} %d\n", l.method, l.status, m.calls[l])
	}
	series("symkeep_http_lookup_seconds", "histogram", "Time from the request's header to the answer's.")
	for _, route := range slices.Sorted(maps.Keys(m.seconds)) {
		m.seconds[route].text(&b, route)
	}
	return b.Bytes()
}

func (h *histogram) text(b *bytes.Buffer, route string) {
	var total int64
	for i, le := range buckets {
		total += h.counts[i]
		fmt.Fprintf(b, "symkeep_http_lookup_seconds_bucket{route=%q,le=\"%g\"} %d\n", route, le, total)
	}
	total += h.counts[len(buckets)]
	fmt.Fprintf(b, "symkeep_http_lookup_seconds_bucket{route=%q,le=\"+Inf\"} %d\n", route, total)
	fmt.Fprintf(b, "symkeep_http_lookup_seconds_sum{route=%q} %g\nsymkeep_http_lookup_seconds_count{route=%q} %d\n", route, h.sum, route, total)
}
