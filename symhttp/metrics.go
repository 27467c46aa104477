package symhttp

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// buckets are the upper bounds of the lookup histogram, in seconds.
var buckets = []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10}

// metrics counts what the public server does. Label sets are small and fixed.
type metrics struct {
	sentBytes   prometheus.Counter
	uploads     prometheus.Gauge
	uploadTotal prometheus.Counter
	uploadBytes prometheus.Counter
	lookups     *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	calls       *prometheus.CounterVec

	mu     sync.RWMutex
	series map[[2]string]lookupSeries // by route and result
}

// A lookupSeries is what one debugger request is counted in. Finding it by its labels
// takes longer than counting.
type lookupSeries struct {
	total   prometheus.Counter
	seconds prometheus.Observer
}

// newMetrics registers the series of the public server.
func newMetrics(reg *prometheus.Registry) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		series:      map[[2]string]lookupSeries{},
		sentBytes:   counter("symkeep_http_sent_bytes_total", "Bytes of files announced to debuggers."),
		uploads:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "symkeep_http_uploads", Help: "Uploads running."}),
		uploadTotal: counter("symkeep_http_uploads_total", "Uploads begun."),
		uploadBytes: counter("symkeep_http_upload_bytes_total", "Raw bytes taken from agents."),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "symkeep_http_lookups_total", Help: "Debugger requests by route and result."}, []string{"route", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "symkeep_http_lookup_seconds", Help: "Time from the request's header to the answer's.", Buckets: buckets}, []string{"route"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "symkeep_http_calls_total", Help: "Requests of /api/v1 by method and status."}, []string{"method", "status"}),
	}
	reg.MustRegister(m.sentBytes, m.uploads, m.uploadTotal, m.uploadBytes, m.lookups, m.seconds, m.calls)
	return m
}

// of returns what the requests of a route with a result are counted in.
func (m *metrics) of(route, result string) lookupSeries {
	id := [2]string{route, result}
	m.mu.RLock()
	s, ok := m.series[id]
	m.mu.RUnlock()
	if !ok {
		s = lookupSeries{m.lookups.WithLabelValues(route, result), m.seconds.WithLabelValues(route)}
		m.mu.Lock()
		m.series[id] = s
		m.mu.Unlock()
	}
	return s
}

// lookup counts one debugger request, from its header to that of the answer.
func (m *metrics) lookup(route, result string, start time.Time) {
	m.of(route, result).add(start)
}

func (s lookupSeries) add(start time.Time) {
	s.total.Inc()
	s.seconds.Observe(time.Since(start).Seconds())
}

// call counts one request of /api/v1.
func (m *metrics) call(method string, status int) {
	m.calls.WithLabelValues(method, strconv.Itoa(status)).Inc()
}

// sent counts the bytes of an answer, when its header goes out.
func (m *metrics) sent(n int64) { m.sentBytes.Add(float64(n)) }

func (m *metrics) uploadBegins() { m.uploads.Inc(); m.uploadTotal.Inc() }

func (m *metrics) uploadEnds(read int64) { m.uploads.Dec(); m.uploadBytes.Add(float64(read)) }
