/* link: the transport of a child. It takes the place of the one that speaks
 * HTTP through libcurl (http/curl.h), by its name; what is sent goes to the
 * parent, and the parent's reply arrives when virtual time has come to it. */
#ifndef TESTS_SIM_LINK_H
#define TESTS_SIM_LINK_H

/* Before the first client of a child is made. */
void sim_link_enter(void);

#endif
