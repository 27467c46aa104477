package ops

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"symkeep/agent"
)

// lineWidth is where text for people is broken; tables keep to it with names of
// usual length.
const lineWidth = 120

// plural counts things: 1 blob, 2 blobs, 2 keys. A y behind a consonant becomes ies.
func plural[N int | int64](n N, noun string) string {
	switch {
	case n == 1:
		return fmt.Sprintf("1 %s", noun)
	case strings.HasSuffix(noun, "y") && !strings.HasSuffix(noun, "ey"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(noun, "y"))
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// span prints a duration with the two units that matter: 350ms, 12s, 3m10s, 5h2m,
// 3d4h.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return units(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return units(d, time.Hour, "h", time.Minute, "m")
	}
	return units(d, day, "d", time.Hour, "h")
}

func units(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d%s", d/big, bigName)
	if rest := d % big / small; rest > 0 {
		text += fmt.Sprintf("%d%s", rest, smallName)
	}
	return text
}

func spanMS(ms int64) string { return span(time.Duration(ms) * time.Millisecond) }

// percent prints a share of 0 to 1.
func percent(share float64) string { return fmt.Sprintf("%.1f%%", share*100) }

// rate prints bytes per second.
func rate(n int64) string { return agent.Size(n) + "/s" }

// limit prints an allowed rate; none is what 0 means.
func limit(n int64, none string) string {
	if n == 0 {
		return none
	}
	return rate(n)
}

// short keeps begin and end of a text of more than max bytes.
func short(s string, max int) string {
	if len(s) <= max {
		return s
	}
	half := (max - 2) / 2
	return strings.ToValidUTF8(s[:half]+".."+s[len(s)-half:], "?")
}

// oneLine makes a text from a server fit for one line of a terminal.
func oneLine(s string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(agent.Clean(s))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// wrapped writes text in lines of lineWidth. The first line begins with head, the
// others with as many blanks.
func wrapped(w io.Writer, head, text string) error {
	indent := utf8.RuneCountInString(head)
	b := &strings.Builder{}
	b.WriteString(head)
	at := indent
	for i, word := range strings.Fields(oneLine(text)) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > lineWidth:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	return err
}

// byName returns the keys of a map in order.
func byName[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
