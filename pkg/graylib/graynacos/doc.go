// Package graynacos binds graylib to Nacos: it announces instances, keeps tables of the instances of others, and reads
// the rules document. Importing it makes it the backend of [graylib.Default].
//
// Nothing here needs Nacos to answer: what is known keeps being used while it is away, and registrations, subscriptions and
// the reading of rules go on in the background until they hold.
//
// The stock client has traps that this package works around; each is named where it is dealt with.
package graynacos
