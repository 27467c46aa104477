package notify

import "strings"

// Wire returns the bytes of the mail for m.
func Wire(m Message) (string, error) {
	msg, err := m.build()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	_, err = msg.WriteTo(&b)
	return b.String(), err
}
