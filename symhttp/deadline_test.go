package symhttp_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"symkeep/symhttp"
)

// TestDeadlines: a deadline comes true not before its time and at most a quarter of a
// second later, whether it is near or far, and one that was moved does not.
func TestDeadlines(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  []time.Duration // from now, one after the other; 0 takes it back
		want time.Duration   // 0: never
	}{
		{"near", []time.Duration{time.Second}, time.Second},
		{"far", []time.Duration{30 * time.Second}, 30 * time.Second},
		{"far after near", []time.Duration{time.Second, 30 * time.Second}, 30 * time.Second},
		{"near after far", []time.Duration{30 * time.Second, time.Second}, time.Second},
		{"moved", []time.Duration{30 * time.Second, 2 * time.Minute}, 2 * time.Minute},
		{"past", []time.Duration{-time.Second}, time.Nanosecond},
		{"taken back", []time.Duration{30 * time.Second, 0}, 0},
		{"near taken back", []time.Duration{time.Second, 0}, 0},
	} {
		for _, side := range []string{"read", "write", "both"} {
			t.Run(tt.name+" "+side, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testDeadline(t, side, tt.set, tt.want) })
			})
		}
	}
}

func testDeadline(t *testing.T, side string, set []time.Duration, want time.Duration) {
	inner, other := net.Pipe()
	defer other.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	conn, sweep := symhttp.PatientConn(inner)
	defer conn.Close()
	go sweep(ctx)
	apply := map[string]func(time.Time) error{"read": conn.SetReadDeadline, "write": conn.SetWriteDeadline, "both": conn.SetDeadline}[side]
	begun := time.Now()
	for _, d := range set {
		at := time.Time{}
		if d != 0 {
			at = begun.Add(d)
		}
		if err := apply(at); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() {
		use := conn.Read
		if side == "write" {
			use = conn.Write
		}
		_, err := use(make([]byte, 1))
		ended <- err
	}()
	select {
	case err := <-ended:
		took := time.Since(begun)
		if want == 0 || took > want+250*time.Millisecond || want > time.Second && took < want || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ended after %v with %v, want %v", took, err, want)
		}
	case <-time.After(time.Hour):
		if want > 0 {
			t.Errorf("no end after an hour, want %v", want)
		}
	}
}
