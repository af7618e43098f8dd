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

project = 'ekko-nova'
copyright = 'ekko-nova contributors'
extensions = ['openstackdocstheme', 'os_api_ref']
source_suffix = {'.rst': 'restructuredtext'}
pygments_style = 'native'

html_theme = 'openstackdocs'
html_theme_options = {
    'analytics_tracking_code': '',
    'display_badge': False,
    'sidebar_mode': 'toc',
}
openstackdocs_auto_name = False
openstackdocs_auto_version = True
openstackdocs_bug_project = ''
openstackdocs_bug_tag = ''
openstackdocs_pdf_link = False
