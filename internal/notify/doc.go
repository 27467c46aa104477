// Package notify tells people by mail what the cluster decided: it reads notices
// from the outbox in the replicated state, renders one message for each and hands
// it to a mail relay. It owns the text, the SMTP conversation and the pace of
// retries; who is told, and what is still owed, is replicated state that it
// reads and marks through Outbox.
//
// A notice is sent at least once: a leader that dies between the relay's 250 and
// the mark leaves it to the next one. The Message-ID and the Date of a notice are
// always the same, so mail systems can fold such duplicates.
//
// A Worker runs on the leader only, one per leadership term. A Relay is immutable
// and safe for concurrent use. SMTP is RFC 5321, STARTTLS RFC 3207, the message
// format RFC 5322, Auto-Submitted RFC 3834.
package notify
