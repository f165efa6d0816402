// The page of a fleet: it shows, and steers nothing.
"use strict";
listen((now) => { document.title = now.title; });
