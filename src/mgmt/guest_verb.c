#include "mgmt/guest_verb.h"

#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "mgmt/client.h"
#include "mgmt/client_daemon.h"
#include "mgmt/command.h"
#include "mgmt/run_options.h"

int guest_set_json(void *target, const char *value, struct error *err)
{
	((struct guest_command *)target)->json = true;
	return 0;
}

int guest_set_text(void *target, const char *key, const char *value, struct error *err)
{
	json_t *text = json_string(value);

	if (!text)
		return error_set(err, EINVAL, "%s must be UTF-8 text", key);
	json_object_set_new(((struct guest_command *)target)->parameters, key, text);
	return 0;
}

int guest_set_true(void *target, const char *key)
{
	json_object_set_new(((struct guest_command *)target)->parameters, key, json_true());
	return 0;
}

int guest_append_text(void *target, const char *key, const char *value, struct error *err)
{
	struct guest_command *command = target;
	json_t *list = json_object_get(command->parameters, key);

	if (!list) {
		list = json_array();
		json_object_set_new(command->parameters, key, list);
	}
	json_array_append_new(list, text_json(value));
	return 0;
}

const struct option guest_plain_options[1] = {{"--json", NULL, "print JSON", guest_set_json}};

void guest_print_nothing(const json_t *reply)
{
}

const char *guest_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int set_word(void *target, const char *word, struct error *err)
{
	struct guest_command *command = target;
	const char *key;

	if (!command->name) {
		if (!run_name_valid(word))
			return error_set(err, EINVAL, "\"%.80s\" cannot be the name of a VM", word);
		command->name = word;
		return 0;
	}
	key = command->word_count < GUEST_WORDS_MAX ? command->verb->words[command->word_count]
						    : NULL;
	if (!key)
		return error_set(err, EINVAL, "unexpected word \"%.80s\"; %s", word,
				 command->verb->missing);
	command->word_count++;
	return guest_set_text(command, key, word, err);
}

static int parse(int argc, char **argv, struct guest_command *command, struct error *err)
{
	const struct guest_verb *verb = command->verb;
	int r = options_parse(verb->options, verb->option_count, argc, argv, set_word, command,
			      err);

	if (r)
		return r;
	if (!command->name ||
	    (command->word_count < GUEST_WORDS_MAX && verb->words[command->word_count]))
		return error_set(err, EINVAL, "%s", verb->missing);
	return verb->complete ? verb->complete(command, err) : 0;
}

int guest_verb_call(struct guest_command *command)
{
	struct error err;
	json_t *reply;
	int r = client_call(command->name, command->verb->method, command->parameters,
			    command->verb->timeout_ms, &reply, &err);

	if (r)
		return command_fail(err.text, client_exit(r), command->json);
	if (command->json)
		client_print_json(reply);
	else
		command->verb->print(reply);
	json_decref(reply);
	return 0;
}

int guest_verb_run(int argc, char **argv, const struct guest_verb *verb)
{
	struct guest_command command = {.verb = verb, .parameters = json_object()};
	struct error err;
	int code;

	if (parse(argc, argv, &command, &err))
		code = command_fail(err.text, EXIT_USAGE, command.json);
	else
		code = verb->call ? verb->call(&command) : guest_verb_call(&command);
	json_decref(command.parameters);
	return code;
}
