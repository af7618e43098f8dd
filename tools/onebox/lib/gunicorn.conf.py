# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""How gunicorn runs each WSGI service.

Nothing stands on its command line, because Nova and Keystone hand that to
oslo.config, which knows no option of gunicorn's.
"""

import os

wsgi_app = os.environ['ONEBOX_APPLICATION']
bind = os.environ['ONEBOX_BIND']
worker_class = 'gthread'
workers = 1
threads = 12
timeout = 300
graceful_timeout = 2
# Longer than any client waits between two questions, or it would now and then
# send one into a connection that is just being closed.
keepalive = 75
accesslog = '-'
errorlog = '-'
control_socket_disable = True
