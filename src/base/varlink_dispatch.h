#pragma once

#include <sys/socket.h>

#include <jansson.h>

#include "base/varlink.h"

/* From a call that came to the method that it means; for base/varlink.c alone. */

struct varlink_connection;
struct varlink_definitions;
struct varlink_idl;

struct varlink_call {
	struct varlink_connection *connection; /* NULL once that is gone */
	const struct varlink_method *method;   /* NULL until it is known */
	const struct varlink_idl *idl;	       /* the method's interface; NULL with it */
	struct ucred peer;
	bool oneway;
	bool wants_more;
	bool upgrade;
	void (*gone)(void *context); /* NULL: nobody wants to know */
	void *gone_context;
	void (*drained)(void *context);
	void *drained_context;
};

/* The parsed interfaces of a service, org.varlink.service among them.  -EINVAL for a text that is
 * no definition, or has not all of the interface's methods; -ENOMEM. */
int varlink_definitions_new(const struct varlink_service *service,
			    struct varlink_definitions **out);
void varlink_definitions_free(struct varlink_definitions *definitions);

/* Hands the call of method to its handler, or answers it with an error.  context is for the
 * handlers. */
void varlink_dispatch(struct varlink_definitions *definitions, void *context,
		      struct varlink_call *call, const char *method, json_t *parameters);

/* What is wrong with an answer to a call whose method is known: 0, or -EINVAL with the member's
 * path (VARLINK_PATH_MAX bytes).  error: NULL for a reply. */
int varlink_check_answer(const struct varlink_definitions *definitions,
			 const struct varlink_call *call, const char *error,
			 const json_t *parameters, char *path);
