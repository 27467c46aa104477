package notify

// Wire returns the bytes of the mail for m.
func Wire(m Message) (string, error) {
	msg, err := m.build()
	if err != nil {
		return "", err
	}
	b, err := wire(msg)
	return string(b), err
}
