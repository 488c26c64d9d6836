"""Roles and their policies, enforced for every request that carries a role's key.

`requests` (with `objects` for S3 and `actions` for the others) says which actions on which
resources a request needs, `context` what is known of their condition keys, `policies` what the
policies of a role say to each, `access` who has which key, and `refusals` how a service says no.
`plain` makes sure first that the request which is judged is the one that is answered.

What is not as on AWS
---------------------
More is refused here than there, so that what works here works there:

- An operation that stands in none of the tables, a request that could be read in two ways, an
  upload as a form, and whatever is signed for another region.
- A resource of another account or region: there is one of each, and no other account's policy.
- A condition key that is not listed in `context`, a tag of anything but a job, an operator for
  dates or bytes: what cannot be known neither allows nor keeps from denying.
- Of DeleteObjects, one key that is refused refuses all; AWS deletes the others and lists it.
- The keys that `sts:AssumeRole` gives: to act as a role, a process has to be started as one.
- Policies of resources (a bucket's, a queue's, the key's) never allow anything.

Less is refused here than there, so that only an account proves it:

- A signature, its time and the end of a presigned address are not checked: the access key is the
  secret, and processes of one user of this machine could read each other's.
- Policies of resources, permissions boundaries, session policies and those of an organisation deny
  nothing, and VPC endpoints have none. TLS is taken as given.
- What AWS does by itself with a role's rights: logs, pulling an image, polling a queue, and the use
  of the key of the stack. `tests/privileges` holds the policies against it.
- Who may assume a role is checked for SageMaker and, by moto, for Lambda; the same tests look at
  all of them. A `Version` other than 2012-10-17 would turn off policy variables on AWS alone.
- S3's object ownership, public access block and object lock, beyond what moto knows of them.
"""
